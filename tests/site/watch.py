#!/usr/bin/python3
print("Content-Type: text/event-stream\nOutboard-Channel: job-42\n")
