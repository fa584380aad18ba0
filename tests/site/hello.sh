#!/bin/sh
# An ordinary page: what the request looked like from here.
printf 'Content-Type: text/plain\nSet-Cookie: seen=yes; path=/\n\n'
printf 'method=%s\nquery=%s\nhost=%s\nlanguage=sh\n' "$REQUEST_METHOD" "$QUERY_STRING" "$HTTP_HOST"
printf 'for=%s\nproto=%s\noutboard=%s\n' "$HTTP_X_FORWARDED_FOR" "$HTTP_X_FORWARDED_PROTO" "$HTTP_OUTBOARD"
