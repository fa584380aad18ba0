#!/bin/sh
# The job behind the page. It begins before the browser listens, and nothing is
# lost: outboard keeps what nobody has seen yet.
. ./publish.sh

for step in 1 2 3 4; do
    publish "steps-$1" "finish $step: $(date '+%H:%M:%S')"
    sleep 1
done
publish_last "steps-$1" 'all steps are finished' 'done'
