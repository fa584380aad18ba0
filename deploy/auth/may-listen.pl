#!/usr/bin/perl
# Says who may listen to what, for an event route with `auth = "/cgi-bin/may-listen.pl"`.
#
# outboard asks with the client's own cookies, and names the channels that the client wishes for in the
# header Outboard-Channel. The answer names those that the client may hear. A name that is not in the answer
# is not heard, so a check of the log in alone lets nobody hear what is for others.
# Change the two marked places to your own rules.
use strict;
use warnings;

# The user whose session this is; nothing if there is none.                            <-- your log in
sub user {
    my ($session) = ($ENV{HTTP_COOKIE} // '') =~ /(?:^|; *)session=([0-9a-zA-Z]{16,64})(?:;|$)/ or return;
    open my $file, '<', ($ENV{SESSIONS} // '/var/lib/site/sessions') . "/$session" or return;
    chomp(my $user = <$file> // '');
    return $user;
}

# Whether this user may hear this channel.                                             <-- your rules
sub may_hear {
    my ($user, $channel) = @_;
    return $channel eq 'news' || $channel eq "user-$user";
}

sub refuse {
    my ($status, $text) = @_;
    print "Status: $status\nContent-Type: text/plain; charset=utf-8\nCache-Control: no-store\n\n$text\n";
    exit;
}

my $user = user();
refuse('401 Unauthorized', 'log in first') unless defined $user;
refuse('403 Forbidden', 'this name cannot listen') unless $user =~ /\A[0-9a-zA-Z_-]+\z/;
my @allowed = grep { may_hear($user, $_) } split /\s*,\s*/, $ENV{HTTP_OUTBOARD_CHANNEL} // '';
refuse('403 Forbidden', 'nothing of this is for you') unless @allowed;

print "Status: 204 No Content\nCache-Control: no-store\n";
print 'Outboard-Channel: ', join(', ', @allowed), "\nOutboard-Subject: $user\n\n";
