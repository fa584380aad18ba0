#!/bin/sh
# First the session ends, then the user's open event streams do. Where the user
# still has a session, the browser comes back; here it is told 403.
. ./cgi.sh
. ./publish.sh

[ "$REQUEST_METHOD" = POST ] || refuse '405 Method Not Allowed' 'use the form'
if user=$(logged_in_user); then
    rm -f "$STATE/session-$(session)"
    disconnect "$user" >/dev/null
fi
printf 'Set-Cookie: session=; Path=/; Max-Age=0\n'
printf 'Content-Type: text/plain\n\nbye\n'
