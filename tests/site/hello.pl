#!/usr/bin/perl
# An ordinary form handler: gives back what it was sent.
use strict;
use warnings;
local $/;
my $body = <STDIN> // '';
print "Status: 201 Created\r\nContent-Type: application/octet-stream\r\nX-Length: ", length $body, "\r\n\r\n", $body;
