"""http.server and uvicorn as servers, curl and httpx as clients: what each counts is what is logged."""

import collections
import subprocess
import sys
import textwrap
import threading

import httpx
import pytest

from harness import counted, free_port, listening, wait_until

pytestmark = pytest.mark.live

HTTP_SERVER = """
    import http.server, sys

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            size = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(size)
            status = 404 if self.path.startswith("/nowhere") else 200
            self.send_response(status)
            reply = b"" if self.command == "HEAD" else b"%s %d" % (self.command.encode(), len(body))
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = answer

        def log_message(self, *args):
            pass

    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

UVICORN = """
    import sys, uvicorn

    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        size = 0
        while True:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        status = 404 if scope["path"].startswith("/nowhere") else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        if scope["method"] != "HEAD":
            # No length: uvicorn sends it chunked.
            for part in (scope["method"].encode(), b" ", b"%d" % size):
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), http="h11", log_level="warning")
"""


@pytest.fixture(params=[HTTP_SERVER, UVICORN], ids=["http.server", "uvicorn"])
def server(request, start_program):
    port = free_port()
    program = start_program(sys.executable, "-c", textwrap.dedent(request.param), str(port))
    wait_until(lambda: listening(port), f"the server: {program.err}")
    return port


def expected_of(calls):
    """What the servers answer: (method, target, status, body bytes)."""
    return collections.Counter(
        (
            method,
            target,
            404 if target.startswith("/nowhere") else 200,
            0 if method == "HEAD" else len(f"{method} {size}"),
        )
        for method, target, size in calls
    )


CALLS = [
    (method, f"{path}?n={n}", size)
    for n in range(10)
    for path in ("/here", "/nowhere")
    for method, size in (("GET", 0), ("HEAD", 0), ("POST", 10), ("PUT", 5000 + n), ("DELETE", 0))
]


def check(agent, calls, port):
    expected = expected_of(calls)
    for role in ("client", "server"):
        lines = agent.wait_for_exchanges(expected.total(), role)
        assert counted(lines) == expected
        sizes = collections.Counter((line["url.original"], line["http.request.body.size"]) for line in lines)
        assert sizes == collections.Counter((target, size) for _, target, size in calls)
        assert {line["server.port"] for line in lines} == {port}
    totals = agent.finish()
    assert (totals.records_lost, totals.breaks) == (0, {})
    assert totals.seen == 2 * expected.total()


def test_httpx(server, start_agent):
    agent = start_agent("--port", str(server))
    with httpx.Client(base_url=f"http://127.0.0.1:{server}", trust_env=False) as client:
        for method, target, size in CALLS:
            content = b"c" * size if size else None
            client.request(method, target, content=content)
    check(agent, CALLS, server)


def test_httpx_from_many_threads(server, start_agent):
    agent = start_agent("--port", str(server))
    quarters = [CALLS[n::4] for n in range(4)]

    def use(calls):
        with httpx.Client(base_url=f"http://127.0.0.1:{server}", trust_env=False) as client:
            for method, target, size in calls:
                client.request(method, target, content=b"c" * size if size else None)

    threads = [threading.Thread(target=use, args=(quarter,)) for quarter in quarters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(agent, CALLS, server)


def test_curl(server, start_agent, tmp_path):
    agent = start_agent("--port", str(server))
    for number, (method, target, size) in enumerate(CALLS):
        if number % 5:
            continue
        calls = CALLS[number : number + 5]
        arguments: list[str] = []
        for method, target, size in calls:
            if arguments:
                arguments.append("--next")
            arguments += ["-sS", "-o", "/dev/null", f"http://127.0.0.1:{server}{target}"]
            if method == "HEAD":
                arguments.append("-I")
            else:
                arguments += ["-X", method]
            if size:
                body = tmp_path / f"body{size}"
                body.write_bytes(b"c" * size)
                arguments += ["--data-binary", f"@{body}"]
        subprocess.run(["curl", *arguments], check=True, timeout=60)
    check(agent, CALLS, server)
