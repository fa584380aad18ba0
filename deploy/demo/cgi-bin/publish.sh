# publish.sh: hands events to outboard. Read it into a script with ". ./publish.sh".
#
# What goes into the socket is server-sent events with a "channel:" line on top.
# What comes back is one line: "ok ID RECEIVERS LEVEL", or "error CODE TEXT".
# Nobody waits for it longer than 2 seconds.
#
#   publish CHANNEL DATA [EVENT]       one event; DATA may have several lines
#   publish_last CHANNEL DATA EVENT    the same, and then the channel is closed
#   disconnect SUBJECT                 the streams of this subject end

case $(nc -h 2>&1) in
*'usage: nc [-'*N*U*)
    # A netcat that can speak to Unix sockets is all it takes.
    publish() {
        {
            printf 'channel: %s\n' "$1"
            [ -z "${3-}" ] || printf 'event: %s\n' "$3"
            # A carriage return would end a line, and let data pose as a field.
            printf '%s\n' "$2" | tr -d '\r' | sed 's/^/data: /'
            [ -z "${4-}" ] || printf '%s\n' "$4"
            printf '\n'
        } | nc -w 2 -NU "$OUTBOARD_SOCKET" | told
    }
    publish_last() { publish "$1" "$2" "$3" close:; }
    disconnect() { printf 'disconnect: %s\n\n' "$1" | nc -w 2 -NU "$OUTBOARD_SOCKET" | told; }
    ;;
*)
    # Without one, outboard's own command does the same, and prints what follows
    # the "ok". It cannot disconnect: there, Outboard-Recheck ends the stream.
    publish() {
        reply=$("$OUTBOARD" publish ${4:+"$4"} ${3:+--event "$3"} -- "$1" "$2") &&
            printf 'ok %s\n' "$reply"
    }
    publish_last() { publish "$1" "$2" "$3" --close; }
    disconnect() { :; }
    ;;
esac

# Passes outboard's answer on, and fails unless it is "ok ...".
told() {
    read -r reply && printf '%s\n' "$reply" && [ "${reply%% *}" = ok ]
}
