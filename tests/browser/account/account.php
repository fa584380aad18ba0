<?php
// An application behind TLS that ends in front of it, as WordPress and its likes are: it believes
// X-Forwarded-Proto, sends everybody to https, and has a log in, an upload and a stream.
if (($_SERVER['HTTP_X_FORWARDED_PROTO'] ?? '') === 'https') {
    $_SERVER['HTTPS'] = 'on';
}
$here = "https://{$_SERVER['HTTP_HOST']}/account.php";
if (($_SERVER['HTTPS'] ?? '') !== 'on') {
    header("Location: $here", true, 301);
    exit;
}
session_set_cookie_params(['secure' => true, 'httponly' => true, 'samesite' => 'Lax']);
session_start();

if (isset($_POST['user'])) {
    session_regenerate_id(true);
    $_SESSION['user'] = $_POST['user'];
    header("Location: $here?welcome", true, 303);
    exit;
}
$user = $_SESSION['user'] ?? null;
session_write_close();

if (isset($_GET['stream'])) {
    if ($user === null) {
        http_response_code(403);
        exit;
    }
    header('Content-Type: text/event-stream');
    header('X-Accel-Buffering: no');
    while (ob_get_level() > 0) {
        ob_end_flush();
    }
    for ($number = 1; $number <= 3; $number++) {
        echo "data: $number for $user\n\n";
        flush();
        usleep(400000);
    }
    exit;
}
header('Content-Type: text/html; charset=utf-8');
if (isset($_FILES['file'])) {
    $file = $_FILES['file'];
    $seen = [$file['error'], $file['name'], $file['size'], hash_file('sha256', $file['tmp_name']), $_POST['note']];
} else {
    $seen = [$user, $_SERVER['REMOTE_ADDR'], $_SERVER['HTTPS'], $_SERVER['HTTP_HOST'], $_SERVER['QUERY_STRING']];
}
?>
<!DOCTYPE html><meta charset="utf-8"><title>account</title>
<pre id="seen"><?= htmlspecialchars(json_encode($seen, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES)) ?></pre>
<form method="post" action="/account.php"><input name="user"><button id="in">Log in</button></form>
<form method="post" enctype="multipart/form-data" action="/account.php">
    <input name="note"><input name="file" type="file"><button id="send">Send</button></form>
