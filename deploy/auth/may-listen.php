<?php
// Says who may listen to what, for an event route with `auth = "/may-listen.php"`.
//
// outboard asks with the client's own cookies, and names the channels that the client wishes for in the
// header Outboard-Channel. The answer names those that the client may hear. A name that is not in the answer
// is not heard, so a check of the log in alone lets nobody hear what is for others.
// Change the two marked places to your own rules.

// The user whose session this is; null if there is none.                              <-- your log in
function user() {
    session_start(array('read_and_close' => true)); // or a second page of this user waits for this one
    return isset($_SESSION['user']) ? $_SESSION['user'] : null;
}

// Whether this user may hear this channel.                                            <-- your rules
function may_hear($user, $channel) {
    return $channel === 'news' || $channel === "user-$user";
}

function refuse($status, $text) {
    http_response_code($status);
    header('Content-Type: text/plain; charset=utf-8');
    header('Cache-Control: no-store');
    exit("$text\n");
}

$user = user();
if ($user === null) {
    refuse(401, 'log in first');
}
if (!preg_match('/^[0-9a-zA-Z_-]+$/D', $user)) {
    refuse(403, 'this name cannot listen');
}
$wished = isset($_SERVER['HTTP_OUTBOARD_CHANNEL']) ? $_SERVER['HTTP_OUTBOARD_CHANNEL'] : '';
$allowed = array();
foreach (explode(',', $wished) as $channel) {
    $channel = trim($channel);
    if (may_hear($user, $channel)) {
        $allowed[] = $channel;
    }
}
if (!$allowed) {
    refuse(403, 'nothing of this is for you');
}
http_response_code(204);
header('Cache-Control: no-store');
header('Outboard-Channel: ' . implode(', ', $allowed));
header("Outboard-Subject: $user");
