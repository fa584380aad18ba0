#!/bin/sh
# One user writes to another. The event's first line says who, the others what.
. ./cgi.sh
. ./publish.sh

[ "$REQUEST_METHOD" = POST ] || refuse '405 Method Not Allowed' 'use the form'
user=$(logged_in_user) || refuse '403 Forbidden' 'log in first'
form=$(body) || refuse '413 Content Too Large' 'that is too much'
to=$(field to "$form") text=$(field text "$form")
case $to in
anna | ben | mei) ;;
*) refuse '400 Bad Request' 'nobody here has that name' ;;
esac
[ -n "$text" ] || refuse '400 Bad Request' 'the message is empty'

reply=$(publish "user-$to" "$user
$text")
printf 'Content-Type: text/plain; charset=utf-8\n\n%s\n' "$reply"
