"""proxy.py PORT [CERTIFICATE KEY]: a proxy for CONNECT, itself over TLS where it has a certificate."""

import socket
import ssl
import sys
import threading

context = None
if sys.argv[2:]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[2:4])


def copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(connection):
    with context.wrap_socket(connection, server_side=True) if context else connection as client:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(65536)
        host, _, port = head.split()[1].decode().rpartition(":")
        with socket.create_connection((host, int(port))) as target:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=copy, args=(target, client))
            back.start()
            copy(client, target)
            back.join()


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
