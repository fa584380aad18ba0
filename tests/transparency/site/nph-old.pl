#!/usr/bin/perl
# As in the nineties: HTTP/1.0, and the end of the connection is the end of the answer.
print "HTTP/1.0 203 From elsewhere\r\nContent-type: text/html\r\nSet-cookie: a=1\r\nSet-cookie: b=2\r\n\r\n<p>old</p>\n";
