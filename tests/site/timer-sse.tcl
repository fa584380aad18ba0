#!/usr/bin/tclsh
# R0: the subscriber of the OpenACS thread. Where it detached its channel it now hands over, and
# what it wrote first is still what the client gets first.
puts "Content-Type: text/event-stream"
puts "Cache-Control: no-cache"
puts "X-Accel-Buffering': no"
puts "Outboard-Channel: timer"
puts "Outboard-Replay: live\n"
puts "data: Hi There!\n"
puts "data: Start time is: 12:00\n"
