#!/usr/bin/perl
print "Status: 299 Odd But Legal\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2; HttpOnly\r\n";
print "Set-Cookie: c=3; Expires=Thu, 01 Jan 2037 00:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\ncookies\n";
