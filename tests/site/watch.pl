#!/usr/bin/perl
print "Content-Type: text/event-stream\nOutboard-Channel: job-42\n\n";
