#!/usr/bin/perl
# Writes its own status line, and ends its lines as the system does.
print "HTTP/1.1 200 Said by the script\nContent-Type: text/plain\nX-Own: yes\n\nby myself\n";
