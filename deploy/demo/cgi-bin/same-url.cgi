#!/bin/sh
# The page and its event source at the same URL. Asked for a page, the script
# starts a job and sends the page; asked for events, it hands the browser over.
. ./cgi.sh

session=$(field session_id "$QUERY_STRING")
case ${HTTP_ACCEPT-} in
*text/event-stream*) events=1 ;;
*) events=$(field events "$QUERY_STRING") ;;
esac

if [ "$events" = 1 ]; then
    known_job "$session" || refuse '404 Not Found' 'there is no such job'
    printf 'Content-Type: text/event-stream\n'
    printf 'Outboard-Channel: steps-%s\n\n' "$session"
    exit
fi

session=$(random_id)
: >"$STATE/job-$session"
nohup sh ./same-url-job.sh "$session" </dev/null >/dev/null 2>&1 &
printf 'Content-Type: text/html; charset=utf-8\nCache-Control: no-store\n\n'
sed "s/@session_id@/$session/g" same-url.html
