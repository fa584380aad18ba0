#!/bin/sh
printf 'Content-Type: text/event-stream\nOutboard-Channel: job-42\n\n'
