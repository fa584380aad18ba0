#!/bin/sh
# The site's own log in: a session in a file, its number in a cookie. A demo
# asks for no password.
. ./cgi.sh

[ "$REQUEST_METHOD" = POST ] || refuse '405 Method Not Allowed' 'use the form'
form=$(body) || refuse '413 Content Too Large' 'that is too much'
user=$(field user "$form")
case $user in
anna | ben | mei) ;;
*) refuse '403 Forbidden' 'nobody here has that name' ;;
esac

session=$(random_id)
printf '%s' "$user" >"$STATE/session-$session"
printf 'Set-Cookie: session=%s; Path=/; HttpOnly; SameSite=Strict\n' "$session"
printf 'Content-Type: text/plain\n\n%s\n' "$user"
