#!/usr/bin/perl
# Tells what a script sees of the request that is the visitor's own; what a proxy adds is told by
# the bytes on the wire, which the test records.
use strict;
use warnings;

my ($length, $sum) = (0, 0);
while (read STDIN, my $bytes, 65536) {
    $length += length $bytes;
    $sum = ($sum + unpack '%32C*', $bytes) % 2**32;
}
my $seen = '';
for my $name (qw(REQUEST_METHOD REQUEST_URI SCRIPT_NAME PATH_INFO QUERY_STRING CONTENT_TYPE CONTENT_LENGTH
                 HTTP_HOST HTTP_COOKIE HTTP_USER_AGENT HTTP_ACCEPT HTTP_RANGE HTTP_AUTHORIZATION)) {
    $seen .= "$name=$ENV{$name}\n" if defined $ENV{$name};
}
$seen .= "body: $length bytes, sum $sum\n";
print "Content-Type: text/plain\r\nContent-Length: ", length $seen, "\r\n\r\n$seen";
