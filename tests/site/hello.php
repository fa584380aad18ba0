<?php
header('Content-Type: text/plain');
echo "language=php\nquery={$_SERVER['QUERY_STRING']}\n";
