#!/usr/bin/tclsh
# R0: the scheduled procedure, with one publish where a loop over all subscribers was.
# README: tcl
puts "Content-Type: text/plain\n"
puts [outboard_publish timer "A voice from the background says: it is now $::env(QUERY_STRING)!"]
