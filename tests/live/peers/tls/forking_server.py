"""forking_server.py KIND PORT CERTIFICATE KEY: HTTP/1.1 over TLS; /N answers N bytes. The process that
accepts a connection does its handshake and answers its first request. A child, which inherits the socket and
what the TLS library has of it, answers the others. KIND says where TLS is: `socket` or `memory`."""

import os
import signal
import socket
import ssl
import sys

kind, port, certificate, key = sys.argv[1:5]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)


class Memory:
    """TLS in memory, which is moved to and from a socket."""

    def __init__(self, connection):
        self.connection = connection
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.call(self.tls.do_handshake)

    def call(self, function, *arguments):
        while True:
            try:
                return function(*arguments)
            except ssl.SSLWantReadError:
                self.flush()
                data = self.connection.recv(65536)
                if not data:
                    return b""
                self.incoming.write(data)
            finally:
                self.flush()

    def flush(self):
        if data := self.outgoing.read():
            self.connection.sendall(data)

    def recv(self, size):
        return self.call(self.tls.read, size)

    def sendall(self, data):
        self.call(self.tls.write, data)


def answer(tls, requests=None):
    while requests != 0:
        head = b""
        while b"\r\n\r\n" not in head:
            data = tls.recv(65536)
            if not data:
                return
            head += data
        size = int(head.split()[1].lstrip(b"/"))
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        requests = requests and requests - 1


listener = socket.create_server(("127.0.0.1", int(port)))
while True:
    connection, _ = listener.accept()
    tls = Memory(connection) if kind == "memory" else context.wrap_socket(connection, server_side=True)
    answer(tls, 1)
    if os.fork() == 0:
        listener.close()
        answer(tls)
        os._exit(0)
    (connection if kind == "memory" else tls).close()
