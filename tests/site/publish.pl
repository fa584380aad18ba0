#!/usr/bin/perl
use strict;
use warnings;
# README: perl
local $/;
my $data = <STDIN>;
print "Content-Type: text/plain\n\n", outboard_publish('job-42', $data);
