#!/usr/bin/python3
import sys
# README: python
data = sys.stdin.buffer.read().decode()
print("Content-Type: text/plain\n")
print(outboard_publish("job-42", data), end="")
