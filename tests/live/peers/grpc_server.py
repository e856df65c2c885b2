"""grpc_server.py PORT [CERTIFICATE KEY]: a gRPC server without generated code, over TLS where it has a
certificate; messages are bytes."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc


def unary(request, _context):
    return request.upper()


def client_stream(requests, _context):
    return b"%d" % sum(len(request) for request in requests)


def server_stream(request, _context):
    for n in range(int(request)):
        yield b"part %d" % n


def both(requests, _context):
    yield from requests


def fail(_request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such käse")


def fail_late(_request, context):
    yield b"first"
    context.abort(grpc.StatusCode.DATA_LOSS, "then no more")


def slow(_request, context):
    over = threading.Event()
    context.add_callback(over.set)
    over.wait(10)
    return b""


HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
    "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "Both": grpc.stream_stream_rpc_method_handler(both),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "FailLate": grpc.unary_stream_rpc_method_handler(fail_late),
    "Slow": grpc.unary_unary_rpc_method_handler(slow),
}

server = grpc.server(ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Witness", HANDLERS),))
address = f"127.0.0.1:{sys.argv[1]}"
if sys.argv[2:]:
    certificate, key = (Path(file).read_bytes() for file in sys.argv[2:4])
    server.add_secure_port(address, grpc.ssl_server_credentials([(key, certificate)]))
else:
    server.add_insecure_port(address)
server.start()
server.wait_for_termination()
