"""switching_server.py PORT: switches to a protocol that nobody decodes (101), or opens a tunnel, and answers
every byte with itself."""

import socket
import sys
import threading

SWITCH = b"HTTP/1.1 101 Switch\r\nConnection: Upgrade\r\nUpgrade: x-echo\r\n\r\n"
TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"


def serve(connection: socket.socket) -> None:
    with connection:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        connection.sendall(TUNNEL if head.startswith(b"CONNECT") else SWITCH)
        while data := connection.recv(65536):
            connection.sendall(data)


with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
