#!/bin/sh
# POST starts a job; GET ?job=ID is where the page listens to it.
. ./cgi.sh

if [ "$REQUEST_METHOD" = POST ]; then
    job=$(random_id)
    : >"$STATE/job-$job"
    nohup sh ./progress-job.sh "$job" </dev/null >/dev/null 2>&1 &
    printf 'Content-Type: text/plain\n\n%s\n' "$job"
    exit
fi

job=$(field job "$QUERY_STRING")
known_job "$job" || refuse '404 Not Found' 'there is no such job'

# These three lines hand the browser over to outboard, and end the script.
printf 'Content-Type: text/event-stream\n'
printf 'Outboard-Channel: job-%s\n' "$job"
printf 'Outboard-Replay: 1\n\n'
