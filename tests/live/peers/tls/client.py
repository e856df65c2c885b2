"""client.py KIND PORT COUNT [PAUSE]: asks for /1 to /COUNT over TLS, in turn, on one connection, or until
SIGTERM. Tells the last one."""

import asyncio
import signal
import ssl
import sys
import time

kind, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
pause = float(sys.argv[4]) if len(sys.argv) > 4 else 0
context = ssl._create_unverified_context()
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))


def numbers():
    for n in range(1, count + 1):
        yield n
        if stopped:
            break
    print(n)


if kind == "http.client":
    import http.client

    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context)
    for n in numbers():
        connection.request("GET", f"/{n}")
        assert len(connection.getresponse().read()) == n
        time.sleep(pause)
elif kind in ("httpx", "httpx2"):
    import httpx

    with httpx.Client(verify=False, http2=kind == "httpx2") as client:
        for n in numbers():
            assert len(client.get(f"https://127.0.0.1:{port}/{n}").content) == n
elif kind == "aiohttp":
    import aiohttp

    async def ask():
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False, limit=1)) as session:
            for n in numbers():
                async with session.get(f"https://127.0.0.1:{port}/{n}") as response:
                    assert len(await response.read()) == n
                await asyncio.sleep(pause)

    asyncio.run(ask())
