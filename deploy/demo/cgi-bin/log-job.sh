#!/bin/sh
# import.sh is an old program that prints lines, and stays as it is.
# Each line becomes an event.
. ./publish.sh

sh ./import.sh 2>&1 | "$OUTBOARD" pipe "log-$1" >/dev/null

# One event with several lines: the browser gets it whole.
publish_last "log-$1" '表        rows   new
──────────────────────
客户         12     3
Straße       40     0
naïve café    7     7' report
