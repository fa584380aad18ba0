#!/bin/sh
# What to type in a second terminal while this demo runs.
printf 'Content-Type: text/plain; charset=utf-8\n\n'
cat <<END
# watch the ticker, as the browsers get it
$OUTBOARD tail ticker --socket $OUTBOARD_SOCKET

# what is there, and who listens
$OUTBOARD channels --socket $OUTBOARD_SOCKET

# write to Anna, with the command or with nothing but printf and nc
$OUTBOARD publish user-anna --socket $OUTBOARD_SOCKET 'console'
printf 'channel: user-anna\ndata: console\ndata: 你好 from a terminal\n\n' | nc -NU $OUTBOARD_SOCKET
END
