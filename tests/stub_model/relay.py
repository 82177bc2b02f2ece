"""``python -S -E relay.py PORT STUB_PORT``: passes connections on to a stub that runs elsewhere.

An inference server that is up in milliseconds and whose answers, and what it was shown, are in the hands of the test.
Only the standard library, for that reason.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading


def main(port: int, stub_port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port), reuse_port=False, backlog=128)
    print("relay", os.getpid(), "is up", flush=True)
    while True:
        asker, _ = listener.accept()
        stub = socket.create_connection(("127.0.0.1", stub_port))
        for connection in (asker, stub):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, sink in ((asker, stub), (stub, asker)):
            threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
