#!/usr/bin/python3
# R4: the ColdFusion template: two lines per message, then it ends, and the browser comes back.
import os
import sys

out = sys.stdout.buffer
out.write(b"Content-Type: text/event-stream; charset=utf-8\n\n")
for moment in range(1, 6):
    out.write(f"data: 10:00:0{moment} 你好 \n".encode())
    out.write(b"data: End of this message \n")
    out.write(b"\n")
    out.flush()
out.write(f": came with {os.environ.get('HTTP_LAST_EVENT_ID', 'nothing')}\n".encode())
