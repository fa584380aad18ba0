#!/bin/sh
# Who may listen to what is decided here, with the site's own session.
. ./cgi.sh

user=$(logged_in_user) || refuse '403 Forbidden' 'log in first'

printf 'Content-Type: text/event-stream\n'
printf 'Outboard-Channel: user-%s\n' "$user"
printf 'Outboard-Subject: %s\n' "$user"
printf 'Outboard-Replay: 20\n'
printf 'Outboard-Recheck: 10\n'
printf 'Outboard-Retry: 500\n\n'
