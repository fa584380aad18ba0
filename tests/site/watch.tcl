#!/usr/bin/tclsh
puts "Content-Type: text/event-stream\nOutboard-Channel: job-42\n"
