"""Content that must not be there, of any kind and cut anywhere, costs no exchange."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rover.values.records import Role

# Of a declared length it may be anything but what would be the next response.
anything = st.binary(min_size=1, max_size=80).filter(lambda data: not data.lstrip(b"\r\n").startswith(b"H"))
texts = st.text("abc<>/ \n\r.", min_size=1, max_size=60).map(str.encode)


def _by_length(data: bytes) -> tuple[bytes, bytes]:
    return b"Content-Length: %d\r\n" % len(data), data


def _chunked(data: bytes) -> tuple[bytes, bytes]:
    return b"Transfer-Encoding: chunked\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)


surplus = st.one_of(
    st.just((b"Content-Length: 50\r\n", b"")),
    st.just((b"", b"")),
    anything.map(_by_length),
    anything.map(_chunked),
    texts.map(lambda data: (b"", data)),
)
turns = st.lists(
    st.tuples(st.sampled_from(["HEAD", "204", "304", "103", "200"]), surplus), min_size=1, max_size=6
)


@settings(max_examples=300, deadline=None)
@given(turns, st.sampled_from(Role), st.booleans(), st.data())
def test_every_exchange_is_there(talk_as, turns, role, pipelined, data):
    asked, answers = [], []
    expected = []
    for number, (kind, (declared, content)) in enumerate(turns):
        method = "HEAD" if kind == "HEAD" else "GET"
        asked.append(f"{method} /{number} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        ok = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % number + b"y" * number
        if kind == "200":
            answer = ok
        else:
            status = b"200" if kind == "HEAD" else kind.encode()
            answer = b"HTTP/1.1 %b X\r\n%b\r\n%b" % (status, declared, content)
            if kind == "103":
                answer += ok
        answers.append(answer)
        final = 200 if kind in ("HEAD", "103", "200") else int(kind)
        expected.append((method, f"/{number}", final, 0, number if kind in ("103", "200") else 0, "complete"))
    talk = talk_as(role)
    if pipelined:
        asked, answers = [b"".join(asked)], [b"".join(answers)]
    for request, answer in zip(asked, answers, strict=True):
        talk.ask(request)
        cuts = sorted(data.draw(st.sets(st.integers(1, len(answer) - 1), max_size=4)))
        talk.answer(*(answer[a:b] for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True)))
    talk.close()
    assert talk.rows == expected
    assert talk.broken is None
