"""asgi_server.py KIND PORT CERTIFICATE KEY: over TLS, by uvicorn (asyncio or uvloop) or hypercorn. /N answers
N bytes."""

import asyncio
import sys


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    while (await receive()).get("more_body", False):
        pass
    body = b"x" * int(scope["path"].lstrip("/"))
    # Without a content-length: curl resets an HTTP/2 stream that has its last byte and not its end.
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


kind, port, certificate, key = sys.argv[1:5]
if kind == "hypercorn":
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.certfile, config.keyfile = certificate, key
    asyncio.run(serve(app, config))
else:
    import uvicorn

    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(port),
        ssl_certfile=certificate,
        ssl_keyfile=key,
        loop=kind,
        log_level="error",
    )
