"""One thread accepts on a port, another connects to a second port; the first one then uses both connections.

Usage: mixed_ports.py UNWATCHED WATCHED ROUNDS. A socket that is released leaves its place in memory to the
next one on this processor: the process stays there, and what it accepted is released last.
"""

import os
import socket
import sys
import threading

unwatched, watched, rounds = map(int, sys.argv[1:])
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def in_a_thread(function):
    made = []
    thread = threading.Thread(target=lambda: made.append(function()))
    thread.start()
    thread.join()
    return made[0]


with socket.create_server(("127.0.0.1", unwatched)) as listener:
    for number in range(rounds):
        peer = in_a_thread(lambda: socket.create_connection(("127.0.0.1", unwatched)))
        accepted, _ = listener.accept()
        peer.close()
        accepted.close()
        with in_a_thread(lambda: socket.create_connection(("127.0.0.1", watched))) as client:
            client.sendall(b"GET /%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % number)
            while client.recv(65536):
                pass
