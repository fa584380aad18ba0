#!/usr/bin/tclsh
# README: tcl
fconfigure stdin -encoding utf-8 -translation lf
puts "Content-Type: text/plain\n"
puts [outboard_publish job-42 [read stdin]]
