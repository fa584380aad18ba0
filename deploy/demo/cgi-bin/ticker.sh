#!/bin/sh
# Runs as long as the site does: ten numbers a second, for all who listen.
. ./publish.sh

number=0 listeners=
while reply=$(publish ticker "$number"); do
    number=$((number + 1))

    # "ok ID RECEIVERS LEVEL": the answer says how many browsers got it.
    receivers=${reply#ok * } receivers=${receivers%% *}
    if [ "$receivers" != "$listeners" ]; then
        listeners=$receivers
        publish ticker-listeners "$listeners" listeners >/dev/null
    fi
    sleep 0.1
done
