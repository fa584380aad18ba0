#!/usr/bin/perl
# A redirect to the site's own address, as scripts build it.
print "Status: 302 Found\r\nLocation: http://$ENV{HTTP_HOST}/page.html\r\nContent-Length: 0\r\n\r\n";
