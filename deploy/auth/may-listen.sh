#!/bin/sh
# Says who may listen to what, for an event route with `auth = "/cgi-bin/may-listen.sh"`.
#
# outboard asks with the client's own cookies, and names the channels that the client wishes for:
#
#     HTTP_OUTBOARD_CHANNEL    news, user-anna, user-ben
#
# The answer names those that the client may hear. A name that is not in the answer is not heard, so a check
# of the log in alone lets nobody hear what is for others. Change the two marked places to your own rules.

# The user whose session this is; fails if there is none.                              <-- your log in
user() {
    session=$(printf '%s' "$HTTP_COOKIE" | tr ';' '\n' | sed -n 's/^ *session=\([0-9a-zA-Z]\{16,64\}\)$/\1/p' | head -n 1)
    [ -n "$session" ] && head -n 1 "${SESSIONS:-/var/lib/site/sessions}/$session" 2>/dev/null
}

# Whether user $1 may hear channel $2.                                                 <-- your rules
may_hear() {
    case $2 in
    news) true ;;
    "user-$1") true ;;
    *) false ;;
    esac
}

refuse() {
    printf 'Status: %s\nContent-Type: text/plain; charset=utf-8\nCache-Control: no-store\n\n%s\n' "$1" "$2"
    exit
}

user=$(user) || refuse '401 Unauthorized' 'log in first'
case $user in '' | *[!0-9a-zA-Z_-]*) refuse '403 Forbidden' 'this name cannot listen' ;; esac

allowed=
set -f # a wished name is a name, and no pattern
for channel in $(printf '%s' "$HTTP_OUTBOARD_CHANNEL" | tr ',' ' '); do
    may_hear "$user" "$channel" && allowed=${allowed:+$allowed, }$channel
done
[ -n "$allowed" ] || refuse '403 Forbidden' 'nothing of this is for you'

printf 'Status: 204 No Content\nCache-Control: no-store\n'
printf 'Outboard-Channel: %s\nOutboard-Subject: %s\n\n' "$allowed" "$user"
