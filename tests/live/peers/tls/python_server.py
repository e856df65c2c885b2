"""python_server.py PORT CERTIFICATE KEY: HTTP/1.1 over TLS with ssl and threads. /N answers N bytes."""

import http.server
import ssl
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b"x" * int(self.path.partition("?")[0].lstrip("/"))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def process_request_thread(self, request, address):
        try:
            super().process_request_thread(context.wrap_socket(request, server_side=True), address)
        except OSError:
            request.close()


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(*sys.argv[2:4])
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
