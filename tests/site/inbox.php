<?php
# R4's reader: "send unique messages to individual logged in users". The session decides.
$user = $_COOKIE['user'] ?? '';
if (!preg_match('/^[a-z]+$/', $user)) {
    http_response_code(403);
    exit("log in first\n");
}
header('Content-Type: text/event-stream');
header("Outboard-Channel: user-$user");
header("Outboard-Subject: $user");
