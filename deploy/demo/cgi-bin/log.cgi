#!/bin/sh
# POST starts the import; GET ?job=ID is where the page reads its log.
. ./cgi.sh

if [ "$REQUEST_METHOD" = POST ]; then
    job=$(random_id)
    : >"$STATE/job-$job"
    nohup sh ./log-job.sh "$job" </dev/null >/dev/null 2>&1 &
    printf 'Content-Type: text/plain\n\n%s\n' "$job"
    exit
fi

job=$(field job "$QUERY_STRING")
known_job "$job" || refuse '404 Not Found' 'there is no such job'

# Whoever comes late, or reloads, gets the log from its first line.
printf 'Content-Type: text/event-stream\n'
printf 'Outboard-Channel: log-%s\n' "$job"
printf 'Outboard-Replay: all\n\n'
