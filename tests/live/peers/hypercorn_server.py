"""hypercorn_server.py PORT: HTTP/2 in clear text. /size/N answers N bytes; POST answers how many came."""

import asyncio
import sys

from hypercorn.asyncio import serve
from hypercorn.config import Config


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    received, more = 0, True
    while more:
        message = await receive()
        received += len(message.get("body", b""))
        more = message.get("more_body", False)
    path, status = scope["path"], 200
    if scope["method"] == "POST":
        body = str(received).encode()
    elif path.startswith("/size/"):
        body = b"x" * int(path.removeprefix("/size/"))
    else:
        status, body = 404, b"no such thing"
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


config = Config()
config.bind = [f"127.0.0.1:{sys.argv[1]}"]
config.h2_max_concurrent_streams = 100
asyncio.run(serve(app, config))
