#!/usr/bin/perl
# R3: the Euphoria program, which writes its stream itself and knows nothing of outboard. Its page
# and its stream have the same URL; after the first step it waits for the word to go on.
use strict;
use warnings;
if ($ENV{QUERY_STRING} ne 'action=test_progress') {
    print "Content-Type: text/html\n\n<title>Find and fix tables</title>\n";
    exit;
}
$| = 1;
print "Content-Type: text/event-stream\n\n";
for my $i (1 .. 100) {
    print "data: $i \n\n";
    if ($i == 1) { open my $go, '<', 'go' or die $!; <$go> }
}
print "Status: 415 OK";
