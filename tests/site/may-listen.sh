#!/bin/sh
# Says which of the channels that a client asks for it may hear: what it asks for grants nothing by itself.
# For event routes with `auth`; the channels stand in Outboard-Channel, a comma between two.
case "; $HTTP_COOKIE;" in
*'; user=alice;'*) user=alice ;;
*'; user=bob;'*) user=bob ;;
*) printf 'Status: 403 Forbidden\nContent-Type: text/plain\n\nlog in first\n'; exit ;;
esac
printf 'Status: 204 No Content\nOutboard-Subject: %s\n' "$user"
printf '%s\n' "$HTTP_OUTBOARD_CHANNEL" | tr ',' '\n' | while read -r channel; do
    case $channel in
    news | "user-$user") printf 'Outboard-Channel: %s\n' "$channel" ;;
    esac
done
printf '\n'
