#!/bin/sh
# The job. It works, and says how far it is. It knows nothing of browsers, and
# works on if nobody hears it.
. ./publish.sh

percent=0
while [ "$percent" -lt 100 ]; do
    publish "job-$1" "$percent"
    sleep 0.1
    percent=$((percent + 1))
done
publish_last "job-$1" 100 'done'
