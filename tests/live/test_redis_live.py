"""Redis: what its own statistics count is what is logged, at each end."""

import collections
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from harness import DEADLINE, free_port, listening, wait_until

pytest.importorskip("rover_plugin_redis")
pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

LARGE = 65_536
"""Bytes of a first reply: more than the kernel captures of what nobody has recognised."""
ITEM = "x" * 4096
CONNECTIONS = 20
REDIS = 6379


def need(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"needs {program} (Debian: redis-server, redis-tools)")
    return found


class Redis:
    """A running server that keeps nothing."""

    def __init__(self, port: int, cli: str) -> None:
        self.port = port
        self._cli = cli

    def cli(self, *words: str) -> str:
        """What redis-cli prints for a command."""
        argv = [self._cli, "-p", str(self.port), *words]
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=DEADLINE).stdout

    def counted(self) -> collections.Counter[str]:
        """Calls by command, as the server counts them. This INFO is not among them yet."""
        lines = self.cli("INFO", "commandstats").splitlines()
        counts: collections.Counter[str] = collections.Counter()
        for line in lines:
            if line.startswith("cmdstat_"):
                name, _, figures = line.removeprefix("cmdstat_").partition(":")
                counts[name.partition("|")[0].upper()] += int(
                    figures.partition(",")[0].removeprefix("calls=")
                )
        return counts


@pytest.fixture
def start_redis(start_program, tmp_path: Path):
    def start(port: int, *options: str) -> Redis:
        server, cli = need("redis-server"), need("redis-cli")
        program = start_program(server, "--port", str(port), "--save", "", "--dir", tmp_path, *options)
        wait_until(lambda: listening(port), f"redis-server: {program.err}")
        return Redis(port, cli)

    return start


def names(lines) -> collections.Counter[str]:
    return collections.Counter(line["db.operation.name"] for line in lines)


@pytest.mark.parametrize("pipeline", [1, 16])
def test_what_redis_benchmark_asks_is_what_is_logged(start_redis, start_agent, pipeline):
    """Every command, once at each end, with its own reply, and nothing assumed."""
    benchmark = need("redis-benchmark")
    redis = start_redis(free_port())
    agent = start_agent("--port", str(redis.port), "--set", f"ports.{redis.port}=redis")  # for PING as a line
    argv = [benchmark, "-p", str(redis.port), "-P", str(pipeline), "-n", "2000", "-c", "5", "-q"]
    argv += ["-t", "ping,set,get,incr,lpush,lrange_100,mset,hset,zadd"]
    subprocess.run(argv, check=True, capture_output=True, timeout=DEADLINE)
    counted = redis.counted()
    total = sum(counted.values())
    servers = agent.wait_for_exchanges(total + 1, "server")
    clients = agent.wait_for_exchanges(total + 1, "client")
    totals = agent.finish()
    for lines in (servers, clients):
        lines = [line for line in lines if line["network.protocol.name"] == "redis"]
        assert names(lines) == counted + collections.Counter({"INFO": 1})
        assert {line["rover.outcome"] for line in lines} == {"complete"}
        assert not [line for line in lines if "rover.pairing" in line]
        assert {line["redis.response.size"] for line in lines if line["db.operation.name"] == "INCR"} <= set(
            range(4, 9)
        )
    assert (totals.records_lost, totals.breaks) == (0, {})


def ask_on(connection: socket.socket, commands: bytes, end: bytes) -> bytes:
    """Sends some commands, and waits for the end of the last reply; all that was received."""
    connection.sendall(commands)
    received = b""
    while end not in received:
        more = connection.recv(1 << 20)
        assert more, received
        received += more
    return received


def ask(port: int, commands: bytes, reply: bytes) -> None:
    """The same on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as connection:
        assert ask_on(connection, commands, reply) == reply


LIST = b"*4\r\n$6\r\nLRANGE\r\n$4\r\nlist\r\n$1\r\n0\r\n$2\r\n-1\r\n"
LIST_AS_A_LINE = b"LRANGE list 0 -1\r\n"


@pytest.mark.parametrize(
    ("port", "asked"), [("any", LIST), ("pinned", LIST_AS_A_LINE), ("own", LIST_AS_A_LINE)]
)
def test_a_large_first_reply_leaves_no_gap(start_redis, start_agent, port, asked):
    """The reply is an array, whose end a gap would hide. A line of words opens a connection only on a port
    that the user pins, or that is Redis's."""
    if port == "own" and listening(REDIS):
        pytest.skip(f"port {REDIS} is taken")
    redis = start_redis(REDIS if port == "own" else free_port())
    items = LARGE // len(ITEM)
    redis.cli("RPUSH", "list", *[ITEM] * items)
    reply = b"*%d\r\n" % items + b"$%d\r\n%s\r\n" % (len(ITEM), ITEM.encode()) * items
    pin = ["--set", f"ports.{redis.port}=redis"] if port == "pinned" else []
    agent = start_agent("--port", str(redis.port), *pin)
    threads = [threading.Thread(target=ask, args=(redis.port, asked, reply)) for _ in range(CONNECTIONS)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(DEADLINE)
    lines = agent.wait_for_exchanges(2 * CONNECTIONS)
    agent.finish()
    assert names(lines) == {"LRANGE": 2 * CONNECTIONS}
    assert {line["rover.outcome"] for line in lines} == {"complete"}
    assert {line["redis.response.size"] for line in lines} == {len(reply)}
    assert not [line for line in lines if "rover.pairing" in line]


def test_every_kind_of_conversation(start_redis, start_agent):
    """As redis-cli has it: subscriptions, transactions, errors, databases, RESP3, MONITOR, a replica."""
    redis = start_redis(free_port())
    agent = start_agent("--port", str(redis.port))
    with socket.create_connection(("127.0.0.1", redis.port), timeout=DEADLINE) as subscriber:
        ask_on(subscriber, b"*3\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n$1\r\nb\r\n", b":2\r\n")
        redis.cli("-3", "PUBLISH", "a", "hello")
        ask_on(subscriber, b"PING\r\n", b"$0\r\n\r\n")
        ask_on(subscriber, b"UNSUBSCRIBE\r\n", b":0\r\n")
        ask_on(subscriber, b"MULTI\r\nSET k v\r\nLPUSH k v\r\nEXEC\r\n", b"wrong kind of value\r\n")
        ask_on(subscriber, b"SELECT 3\r\nGET k\r\nLPUSH\r\n", b"command\r\n")
        ask_on(subscriber, b"CLIENT REPLY OFF\r\nSET k v\r\nCLIENT REPLY ON\r\n", b"+OK\r\n")
        ask_on(subscriber, b"HELLO 3\r\nHGETALL nothing\r\n", b"%0\r\n")
        ask_on(subscriber, b"MONITOR\r\nPING\r\n", b"+PONG\r\n")
    servers = agent.wait_for_exchanges(18, "server")
    clients = agent.wait_for_exchanges(18, "client")
    totals = agent.finish()
    for lines in (servers, clients):
        assert names(lines) == {
            **dict.fromkeys(("SUBSCRIBE", "PUBLISH", "UNSUBSCRIBE", "MULTI", "EXEC"), 1),
            **dict.fromkeys(("SELECT", "GET", "HGETALL", "MONITOR"), 1),
            **dict.fromkeys(("HELLO", "PING", "SET", "LPUSH", "CLIENT"), 2),
        }
        assert [line["db.response.status_code"] for line in lines if "error.type" in line] == ["ERR"]
        assert {line["db.namespace"] for line in lines} == {"0", "3"}
        assert {line["rover.outcome"] for line in lines} == {"complete"}
    assert totals.breaks == {}


def test_a_replica_breaks_once_it_is_one(start_redis, start_agent):
    redis = start_redis(free_port())
    agent = start_agent("--port", str(redis.port))
    start_redis(free_port(), "--replicaof", "127.0.0.1", str(redis.port))
    wait_until(lambda: "connected_slaves:1" in redis.cli("INFO", "replication"), "the replica")
    wait_until(
        lambda: len([line for line in agent.lines() if line.get("rover.break.reason")]) >= 2, "the breaks"
    )
    syncs = [line for line in agent.exchanges() if line["db.operation.name"] == "PSYNC"]
    totals = agent.finish()
    assert totals.breaks == {"replication": 2}
    assert {line["rover.role"] for line in syncs} == {"client", "server"}
    assert {line["rover.outcome"] for line in syncs} == {"complete"}
