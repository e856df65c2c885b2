"""What is learned of a service: few routes, whatever its paths are; nothing by a 404."""

from __future__ import annotations

import base64
import hashlib
import random
import tracemalloc
import uuid
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover_plugin_routes.learning import Learned
from rover_plugin_routes.router import Limits, Router
from rover_plugin_routes.segments import MAX_DEPTH, split
from rover_plugin_routes.shape import is_value

KEY = ("shop", 80)


class Service:
    """One service, of which nothing is known."""

    def __init__(self, words: int = 20, limit: int = 200, **bounds: int) -> None:
        self.router = Router({}, Limits(words, limit), **bounds)

    def ask(self, path: str, status: int | None = 200, *, call: bool = False) -> tuple[str, str] | None:
        return self.router.find(KEY, path, status, call)

    def route(self, path: str, status: int | None = 200) -> str:
        found = self.ask(path, status)
        return found[0] if found else ""


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "/"),
        ("//", "/"),
        ("/users", "/users"),
        ("/users/", "/users"),
        ("/users/7", "/users/{}"),
        ("/users/7/orders/2026-11-26", "/users/{}/orders/{}"),
        ("/cart;jsessionid=0A1B", "/cart"),
        ("/%75sers", "/users"),
        ("/caf%C3%A9", "/{}"),
        ("/\udcff\x00", "/{}"),
        ("/../../etc/passwd", "/{}/{}/etc/passwd"),
        ("/a" * 16, "/a" * 16),
        ("/a" * 1000, "/a" * 16 + "/{...}"),
        ("/a/" + "b" * 5000, "/a/{...}"),
        ("/" + "%41" * 5000, "/{...}"),
        ("/{...}", "/{}"),
    ],
)
def test_the_route_by_shape(path: str, route: str) -> None:
    service = Service()
    assert service.ask(path) == (route, "shape")
    assert service.ask(path, None) == (route, "shape")


def test_a_level_with_many_words_becomes_a_value() -> None:
    service = Service(words=3)
    names = ["ann", "bob", "cy"]
    assert [service.route(f"/people/{name}") for name in names] == [f"/people/{name}" for name in names]
    assert service.ask("/people/dee") == ("/people/{}", "learned")
    assert service.ask("/people/ann") == ("/people/{}", "learned")
    assert service.ask("/people/7") == ("/people/{}", "learned")
    assert service.ask("/places/ann") == ("/places/ann", "shape")


def test_what_follows_the_words_is_joined() -> None:
    service = Service(words=3)
    for name in ("ann", "bob", "cy"):
        service.ask(f"/people/{name}/orders/1")
    service.ask("/people/ann/address")
    assert service.ask("/people/dee/orders/2") == ("/people/{}/orders/{}", "learned")
    assert service.ask("/people/eve/address") == ("/people/{}/address", "learned")


def test_pages_beside_an_interface_leave_it_its_words() -> None:
    service = Service(words=5)
    service.ask("/api/users/1")
    for page in "abcdefghij":
        service.ask(f"/page-{page}")
    assert service.route("/page-z") == "/{}"
    assert service.route("/api/users/2") == "/api/users/{}"
    assert service.route("/api/orders") == "/api/orders"


@pytest.mark.parametrize("status", [404, None])
def test_an_answer_of_404_teaches_nothing(status: int | None) -> None:
    service = Service(words=3)
    for number in range(100):
        assert service.ask(f"/wp-{chr(97 + number % 26)}.php", status) is None
        assert service.ask(f"/{number}", status) is None
    assert service.route("/users/7") == "/users/{}"
    assert service.route("/users/8", status) == "/users/{}"
    assert service.route("/users/none", status) == ""
    assert service.route("/users", status) == ""
    assert [service.route(f"/{word}") for word in "abc"] == ["/a", "/b", "/c"]


@pytest.mark.parametrize("status", [200, 204, 301, 400, 403, 500, 503])
def test_other_answers_do(status: int) -> None:
    service = Service()
    assert service.route("/users", status) == "/users"
    assert service.route("/users", 404) == "/users"


def test_methods_of_grpc_stay() -> None:
    service = Service(words=3, limit=50)
    methods = [f"/pkg.Service{letter}/Method{number}" for letter in "abcde" for number in range(10)]
    for _ in range(2):
        assert [service.ask(method, call=True) for method in methods] == [(each, "shape") for each in methods]
    assert service.ask("/pkg.More/Method", call=True) is None
    assert service.ask("/pkg.Unknown/Method", None, call=True) is None


def test_nothing_but_patterns_without_deriving() -> None:
    assert Router({}, None).is_idle
    assert Router({}, None).find(KEY, "/users/7", 200, False) is None


def test_services_are_learned_of_each_for_itself() -> None:
    router = Router({}, Limits(words=2))
    for number in range(5):
        router.find(("a", 80), f"/p{chr(97 + number)}", 200, False)
    assert router.find(("a", 80), "/pz", 200, False) == ("/{}", "learned")
    for key in (("a", 81), ("b", 80)):
        assert router.find(key, "/pz", 200, False) == ("/pz", "shape")


# -- bounds -------------------------------------------------------------------------------------


def names(rng: random.Random) -> Callable[[], str]:
    """Words that nobody has heard of."""

    def name() -> str:
        syllables = (rng.choice("bcdfghklmnprst") + rng.choice("aeiou") for _ in range(rng.randint(3, 6)))
        return "".join(syllables)

    return name


def paths(seed: int) -> Callable[[int], str]:
    rng = random.Random(seed)
    name = names(rng)
    kinds: list[Callable[[int], str]] = [
        lambda number: f"/users/{number}/orders/{rng.getrandbits(40)}",
        lambda number: f"/v1/items/{uuid.UUID(int=rng.getrandbits(128))}",
        lambda number: f"/blobs/{hashlib.sha1(b'%d' % number).hexdigest()}",
        lambda number: f"/tokens/{base64.urlsafe_b64encode(rng.randbytes(18)).decode()}",
        lambda number: f"/days/2026-{number % 12 + 1:02}-{number % 28 + 1:02}/{number}",
        lambda number: f"/people/{name()}/profile{rng.choice(['', '/edit'])}",
        lambda number: f"/wiki/{name().title()}_{name()}%20{number}",
        lambda number: f"/static/{name()}.{rng.randbytes(4).hex()}.js",
        lambda number: f"/shop/{name()}/{name()}-{name()}",
        lambda number: f"/{name()}{number % 10}",
        lambda number: f"/files/{'/'.join(str(rng.getrandbits(9)) for _ in range(rng.randint(1, 40)))}",
    ]
    return lambda number: kinds[number % len(kinds)](number)


def test_50_000_distinct_paths_end_in_under_100_routes_and_memory_is_flat() -> None:
    path, service = paths(1), Service()
    several = [path(number) for number in range(54_000)]
    assert len(set(several)) >= 50_000
    found = set()
    peaks = []
    tracemalloc.start()
    try:
        for number, each in enumerate(several):
            found.add(service.ask(each))
            if number in (20_000, 37_000, 53_999):  # in each part the known paths are as many as there may be
                peaks.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.reset_peak()
    finally:
        tracemalloc.stop()
    assert None not in found
    assert len(found) < 150, "with those of words, before these were too many"
    assert peaks[2] < 1.05 * peaks[1] < 8 << 20
    last = {service.ask(path(number)) for number in range(2_000)}
    assert len(last) < 100
    assert {service.ask(path(number)) for number in range(10_000)} == last


def test_a_service_has_no_more_routes_than_its_limit() -> None:
    """Words of which no level has many, so that only the limit joins them."""
    service = Service(words=20, limit=100)
    letters = "abcdefghij"
    for a in letters:
        for b in letters:
            for c in letters:
                for d in letters[:3]:
                    service.ask(f"/{a}/{b}/{c}/{d}")
    last = {service.ask(f"/{a}/{b}/{c}") for a in letters for b in letters for c in letters}
    last |= {service.ask(f"/{a}/{b}/{c}/d") for a in letters for b in letters for c in letters}
    assert len(last) <= 100


words_and_values = st.sampled_from([*"abcdef", "1", "22", "333", "%FF"])
asked = st.lists(
    st.tuples(st.lists(words_and_values, max_size=20), st.sampled_from([200, 404, None])), max_size=60
)


@given(asked, st.integers(1, 4), st.integers(1, 30))
def test_whatever_is_asked(turns: list[tuple[list[str], int | None]], words: int, limit: int) -> None:
    """Routes are bounded, fit their paths, and are the same when asked twice."""
    learned = Learned(words, limit)
    for path, status in turns:
        segments, cut = split("/" + "/".join(path))
        found = learned.find(segments, cut, status == 200)
        assert found is not None or status != 200
        assert learned.routes <= max(limit, MAX_DEPTH + 2)
        assert learned.levels <= (MAX_DEPTH + 1) * (learned.routes + 1)
        if found is not None:
            assert found == learned.find(segments, cut, teaches=False)
            parts = found[0].split("/")[1:] if found[0] != "/" else []
            assert len(parts) == len(segments) + cut
            assert all(part in ("{}", segment) for part, segment in zip(parts, segments, strict=False))


def test_services_are_bounded() -> None:
    """The one goes that was not asked about for longest."""
    router = Router({}, Limits(), services=10)

    def ask(name: str, path: str, status: int = 200) -> bool:
        return router.find((name, 80), path, status, False) is not None

    assert ask("first", "/users")
    assert all(ask(f"more{number}", "/x") for number in range(9))
    assert ask("first", "/users", 404)
    assert all(ask(f"other{number}", "/x") for number in range(9))
    assert ask("first", "/users", 404)
    assert ask("one more", "/x")
    assert not ask("other0", "/x", 404), "it was forgotten"
    assert not ask("other1", "/x", 404), "as this one was, for it was asked about"
    assert ask("first", "/users", 404)


def test_levels_are_bounded_however_they_grow() -> None:
    """Of new services, and of those that are there already."""
    router = Router({}, Limits(), levels=2000)
    name = names(random.Random(2))
    for number in range(5_000):
        path = "/".join(name() for _ in range(16))
        assert router.find((f"host{number % 20}", 80), f"/{path}", 200, number % 3 == 0) is not None
        assert router.levels <= 2000 + 3400, "that of the last service come on top"
    assert router.levels > 1000


def test_paths_take_no_memory() -> None:
    """What was learned does, however many paths have taught it."""
    service = Service()
    assert service.ask("/users/0/x") == ("/users/{}/x", "shape")
    tracemalloc.start()
    try:
        for number in range(20_000):
            assert service.ask(f"/users/{number}/x") == ("/users/{}/x", "shape")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 4096


# -- beside another way to find the same ----------------------------------------------------------


class Node:
    """A level of the tree: `end` and `on` are the kinds of words, those that end a path and those after which
    it goes on."""

    def __init__(self) -> None:
        self.words: dict[str, Node] = {}
        self.value: Node | None = None
        self.is_end = False
        self.closed: set[str] = set()

    @property
    def kind(self) -> str:
        return "on" if self.words or self.value else "end"

    def many(self, kind: str) -> int:
        return sum(each.kind == kind for each in self.words.values())

    def all(self) -> Iterator[Node]:
        """In the order in which one of two equally large ones is taken."""
        left = [self]
        while left:
            node = left.pop()
            yield node
            left += [*node.words.values(), *([node.value] if node.value else [])]


class Reference:
    """The routes of one service as they were first written down: it counts everything anew, remembers no
    route, and says what it passes on its way."""

    def __init__(self, words: int, limit: int) -> None:
        self.words, self.limit, self.first = words, limit, Node()

    def find(self, segments: list[str], cut: bool, teaches: bool) -> tuple[str, str] | None:
        node, said, source = self.first, [""], "shape"
        path = [*segments, ""] if cut else segments
        for number, segment in enumerate(path, 1):
            kind = "end" if number == len(path) else "on"
            if segment not in node.words and (
                not segment or (kind not in node.closed and not is_value(segment))
            ):
                if not teaches:
                    return None
                if not segment or node.many(kind) < self.words:
                    node.words[segment] = Node()
                else:
                    self.close(node, {kind})
            if segment in node.words:
                said.append(segment or "{...}")
                node = node.words[segment]
                continue
            if not node.value:
                if not teaches:
                    return None
                node.value = Node()
            if node.closed:
                source = "learned"
            said.append("{}")
            node = node.value
        if not node.is_end and not teaches:
            return None
        if not node.is_end:
            node.is_end = True
            if self.routes() > self.limit:
                self.shrink()
                return self.find(segments, cut, teaches)
        return "/".join(said) or "/", source

    def routes(self) -> int:
        return sum(node.is_end for node in self.first.all())

    def close(self, node: Node, kinds: set[str]) -> None:
        node.closed |= kinds
        node.value = node.value or Node()
        for word in [word for word, following in node.words.items() if word and following.kind in kinds]:
            self.merge(node.value, node.words.pop(word))

    def merge(self, node: Node, other: Node) -> None:
        node.is_end |= other.is_end
        for word, following in other.words.items():
            if word in node.words:
                self.merge(node.words[word], following)
            else:
                node.words[word] = following
        if other.value:
            node.value = node.value or Node()
            self.merge(node.value, other.value)
        kinds = node.closed | other.closed
        kinds |= {kind for kind in ("end", "on") if node.many(kind) > self.words}
        if kinds:
            self.close(node, kinds)

    def shrink(self) -> None:
        while self.routes() > self.limit - self.limit // 8:
            nodes = [node for node in self.first.all() if node.words.keys() - {""}]
            if not nodes:
                return
            self.close(max(nodes, key=lambda node: len(node.words)), {"end", "on"})


names_and_values = st.sampled_from([*"abcdef", "ab", "cd-e", "v1", "1", "22", "9f1c2ab", "%FF", ";x", ""])
paths_asked = st.lists(
    st.tuples(
        st.lists(names_and_values, max_size=5) | st.lists(names_and_values, min_size=14, max_size=20),
        st.sampled_from([200, 200, 200, 404, None]),
    ),
    max_size=80,
)


@given(paths_asked, st.integers(1, 4), st.integers(1, 30))
def test_whatever_is_asked_beside_the_reference(
    turns: list[tuple[list[str], int | None]], words: int, limit: int
) -> None:
    service, reference = Service(words, limit), Reference(words, limit)
    for parts, status in turns:
        path = "/" + "/".join(parts)
        assert service.ask(path, status) == reference.find(*split(path), status == 200)
