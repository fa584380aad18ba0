#!/usr/bin/env python3
"""A server with planted faults, for benches/run to see that the load finds them.

    faulty.py ADDRESS PORT SOCKET

It serves one subscriber and one publisher. The third event is dropped, the fifth doubled, the
seventh comes after the eighth, and all of them in pieces that end where nothing else does.
"""

import socket
import sys

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(block):
    return b"%x\r\n" % len(block) + block + b"\r\n"


def frames(publisher):
    """The data lines of the frames, each of which is acknowledged."""
    waiting = b""
    while piece := publisher.recv(65536):
        waiting += piece
        while b"\n\n" in waiting:
            frame, waiting = waiting.split(b"\n\n", 1)
            publisher.sendall(b"ok 3q9f7c1x0zkd-1 1 accepted\n")
            yield frame.split(b"\n")[1]


def main():
    address, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    clients = socket.create_server((address, port))
    publishers = socket.socket(socket.AF_UNIX)
    publishers.bind(path)
    publishers.listen()
    client, _ = clients.accept()
    client.recv(4096)
    client.sendall(HEAD)
    publisher, _ = publishers.accept()

    late = b""
    for count, data in enumerate(frames(publisher), start=1):
        sent = chunk(b"id: %d\n%s\n\n" % (count, data))
        if count == 3:
            continue
        if count == 5:
            sent += sent
        if count == 7:
            late = sent
            continue
        if count == 8:
            sent += late
        for start, end in ((0, 7), (7, 60), (60, None)):
            client.sendall(sent[start:end])


if __name__ == "__main__":
    main()
