"""websocket_server.py PORT: answers every WebSocket message with itself; greets on /greet, closes on /bye.

For each message it prints a line of JSON that says what it saw: path, sender, type, bytes of payload on the
wire, and whether permessage-deflate made them fewer.
"""

import json
import sys
import threading

from websockets.extensions.base import Extension
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.sync.server import serve

printing = threading.Lock()


class Counting(Extension):
    """What is compressed, counted between the compressor and the socket."""

    def __init__(self, deflate):
        self.deflate, self.name = deflate, deflate.name
        self.sent, self.received = [], []

    def encode(self, frame):
        return self._count(self.deflate.encode(frame), self.sent)

    def decode(self, frame, *, max_size=None):
        self._count(frame, self.received)
        return self.deflate.decode(frame, max_size=max_size)

    def _count(self, frame, messages):
        if frame.opcode < 8:
            if frame.opcode:
                messages.append(0)
            messages[-1] += len(frame.data)
        return frame


class Factory(ServerPerMessageDeflateFactory):
    def process_request_params(self, params, accepted_extensions):
        agreed, deflate = super().process_request_params(params, accepted_extensions)
        return agreed, Counting(deflate)


def answer(connection):
    path = connection.request.path
    counting = next(iter(connection.protocol.extensions), None)
    numbers = {"client": 0, "server": 0}

    def tell(sender, message):
        size = len(message if isinstance(message, bytes) else message.encode())
        if counting is not None:
            size = (counting.received if sender == "client" else counting.sent)[numbers[sender]]
            numbers[sender] += 1
        kind = "binary" if isinstance(message, bytes) else "text"
        with printing:
            print(json.dumps([path, sender, kind, size, counting is not None]), flush=True)

    def send(message):
        connection.send(message)
        tell("server", message)

    if path.startswith("/greet"):
        send("welcome")
    if path.startswith("/bye"):
        connection.close(4001, "not today")
    for message in connection:
        tell("client", message)
        send(message)


with serve(
    answer,
    "127.0.0.1",
    int(sys.argv[1]),
    compression=None,
    extensions=[Factory()],
    max_size=None,
    ping_interval=None,
) as server:
    server.serve_forever()
