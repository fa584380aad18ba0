#!/bin/sh
# R1: one URL is the page and, with a session_id, its event source. The page starts a job in the
# background, which reports to whoever holds the session_id, whether or not they are there yet.
# README: sh
case $QUERY_STRING in
session_id=*)
    printf 'Content-Type: text/event-stream\nOutboard-Channel: %s\n\n' "${QUERY_STRING#session_id=}"
    exit ;;
esac

session_id=session-$$
(
    outboard_publish "$session_id" '<li>finish 1: ... (Gustaf)</li>'
    outboard_publish "$session_id" '<li>finish 2: ...
(over two lines)</li>'
    read -r go <go
    outboard_publish "$session_id" '<li>finish 3: ... (完成)</li>'
    printf 'channel: %s\ndata: <li>finish 4: ...</li>\nclose:\n\n' "$session_id" | nc -NU /run/outboard/publish.sock
) </dev/null >/dev/null 2>&1 &

cat <<PAGE
Content-Type: text/html; charset=utf-8

<!DOCTYPE html>
<title>Sample HTML streaming job page (SSE)</title>
<ul id="result"></ul>
<script>
var sse = new EventSource("?session_id=$session_id");
sse.onmessage = function (event) {
    document.getElementById("result").innerHTML += event.data;
};
</script>
PAGE
