#!/usr/bin/tclsh
puts "Content-Type: text/plain\n"
puts "language=tcl"
puts "query=$::env(QUERY_STRING)"
