#!/bin/sh
# Says whether this client may listen, for event routes with `auth`.
case $HTTP_COOKIE in
*user=alice*) printf 'Status: 204 No Content\nOutboard-Subject: alice\n\n' ;;
*) printf 'Status: 403 Forbidden\nContent-Type: text/plain\n\nlog in first\n' ;;
esac
