<?php
// Says which of the channels that a client asks for it may hear: what it asks for grants nothing by itself.
// For event routes with `auth`; the channels stand in Outboard-Channel, a comma between two.
$user = $_COOKIE['user'] ?? '';
if (!in_array($user, ['alice', 'bob'], true)) {
    http_response_code(403);
    exit('log in first');
}
$wished = array_map('trim', explode(',', $_SERVER['HTTP_OUTBOARD_CHANNEL'] ?? ''));
$allowed = array_intersect($wished, ['news', "user-$user"]);
http_response_code(204);
header("Outboard-Subject: $user");
if ($allowed) {
    header('Outboard-Channel: ' . implode(', ', $allowed));
}
