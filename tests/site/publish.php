<?php
# README: php
header('Content-Type: text/plain');
echo outboard_publish('job-42', file_get_contents('php://input'));
