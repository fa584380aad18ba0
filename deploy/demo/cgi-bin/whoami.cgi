#!/bin/sh
# The name of the logged-in user, or nothing.
. ./cgi.sh

printf 'Content-Type: text/plain\nCache-Control: no-store\n\n%s\n' "$(logged_in_user)"
