"""interleaved.py PORT CONNECTIONS ROUNDS [LOOP]: in one thread, many connections that take turns; the one of
number N asks for /N?1, /N?2 and so on."""

import asyncio
import ssl
import sys

port, connections, rounds = map(int, sys.argv[1:4])
context = ssl._create_unverified_context()


async def answer(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"chunked" not in head:
        length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        return len(await reader.readexactly(int(length.split(b":")[1])))
    size = 0
    while length := int(await reader.readline(), 16):
        size += length
        await reader.readexactly(length + 2)
    await reader.readline()
    return size


async def one(number, barrier):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    for each in range(1, rounds + 1):
        await barrier.wait()
        writer.write(b"GET /%d?%d HTTP/1.1\r\nHost: x\r\n\r\n" % (number, each))
        await writer.drain()
        assert await answer(reader) == number
    writer.close()


class Barrier:
    """All of them at once."""

    def __init__(self, parties):
        self.parties, self.waiting, self.event = parties, 0, asyncio.Event()

    async def wait(self):
        self.waiting += 1
        if self.waiting == self.parties:
            self.waiting = 0
            event, self.event = self.event, asyncio.Event()
            event.set()
        else:
            await self.event.wait()


async def main():
    barrier = Barrier(connections)
    await asyncio.gather(*(one(number, barrier) for number in range(1, connections + 1)))


if sys.argv[4:] == ["uvloop"]:
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
