#!/bin/sh
# What to type in a second terminal while this demo runs.
printf 'Content-Type: text/plain; charset=utf-8\n\n'
cat <<END
alias outboard='$OUTBOARD'
export OUTBOARD_SOCKET='$OUTBOARD_SOCKET'

# what is there, and who listens
outboard channels

# watch the ticker, as the browsers get it
outboard tail ticker

# write to Anna, with the command or with nothing but printf and nc
printf 'console\\nhello, Anna' | outboard publish user-anna -
printf 'channel: user-anna\\ndata: console\\ndata: 你好\\n\\n' | nc -NU "\$OUTBOARD_SOCKET"
END
