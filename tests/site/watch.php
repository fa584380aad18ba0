<?php
header('Content-Type: text/event-stream');
header('Outboard-Channel: job-42');
