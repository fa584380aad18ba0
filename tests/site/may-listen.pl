#!/usr/bin/perl
# Says which of the channels that a client asks for it may hear: what it asks for grants nothing by itself.
# For event routes with `auth`; the channels stand in Outboard-Channel, a comma between two.
use strict;
use warnings;

my ($user) = ($ENV{HTTP_COOKIE} // '') =~ /(?:^|;\s*)user=(alice|bob)(?:;|$)/;
unless ($user) {
    print "Status: 403 Forbidden\nContent-Type: text/plain\n\nlog in first\n";
    exit;
}
my %allowed = map { $_ => 1 } 'news', "user-$user";
my @wished = split /\s*,\s*/, $ENV{HTTP_OUTBOARD_CHANNEL} // '';
print "Status: 204 No Content\nOutboard-Subject: $user\n";
print "Outboard-Channel: $_\n" for grep { $allowed{$_} } @wished;
print "\n";
