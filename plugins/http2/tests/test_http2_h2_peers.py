"""Conversations between two endpoints of the h2 package: its frames, its windows, its settings."""

from __future__ import annotations

from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rover import Direction, Outcome

UP, DOWN = Direction.EGRESS, Direction.INGRESS
Codes = h2.settings.SettingCodes


class Endpoints:
    """A client and a server; what each writes is sent, cut, to the player and to the other."""

    def __init__(self, c: Any, cut_at: Any, cuts: list[int], preferences: dict[int, int]) -> None:
        self.c, self.cut_at, self.cuts = c, cut_at, cuts
        config = h2.config.H2Configuration
        self.client = h2.connection.H2Connection(config(client_side=True, header_encoding="utf-8"))
        self.server = h2.connection.H2Connection(config(client_side=False, header_encoding="utf-8"))
        for end in (self.client, self.server):
            end.initiate_connection()
            end.update_settings(preferences)
        self.flush()

    def flush(self) -> None:
        """Until both have nothing to say any more."""
        while True:
            quiet = True
            for end, other, way in ((self.client, self.server, UP), (self.server, self.client, DOWN)):
                sent = end.data_to_send()
                if not sent:
                    continue
                quiet = False
                self.c.play.send_all(way, self.cut_at(sent, self.cuts))
                for event in other.receive_data(sent):
                    if isinstance(event, h2.events.DataReceived):
                        other.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if quiet:
                return

    def body(self, end: Any, stream: int, size: int, pad: int | None) -> None:
        """All of a body, as the windows allow, with END_STREAM."""
        while size:
            room = min(end.local_flow_control_window(stream), end.max_outbound_frame_size) - (pad or 0) - 1
            chunk = min(size, room)
            if chunk > 0:
                end.send_data(stream, bytes(chunk), pad_length=pad)
                size -= chunk
            self.flush()
        end.end_stream(stream)


fields = st.lists(
    st.tuples(st.sampled_from(["x-a", "x-b", "via", "accept"]), st.sampled_from(["", "1", "v" * 500])),
    max_size=5,
)
exchanges = st.lists(
    st.tuples(
        fields,
        st.sampled_from([0, 1, 5000, 70_000]),
        st.none() | st.integers(0, 255),
        st.sampled_from(["answer", "answer", "trailers", "no body", "reset", "push"]),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    exchanges,
    st.lists(st.integers(1, 3000), max_size=8),
    # Down from more than the default is tested elsewhere: h2 signals every size it was told since
    # its last header block, and refuses those above the last when it reads them.
    st.sampled_from([{}, {Codes.HEADER_TABLE_SIZE: 0}, {Codes.MAX_FRAME_SIZE: 40_000}]),
    st.sampled_from([{}, {Codes.HEADER_TABLE_SIZE: 100}, {Codes.HEADER_TABLE_SIZE: 8192}]),
)
def test_two_h2_endpoints(talk, cut_at, made, cuts, at_first, later):
    c = talk(late=True)
    ends = Endpoints(c, cut_at, cuts, at_first)
    client, server = ends.client, ends.server
    expected = []
    for i, (extra, size, pad, how) in enumerate(made):
        if i == len(made) // 2:
            for end in (client, server):
                end.update_settings(later)
            ends.flush()
        stream = client.get_next_available_stream_id()
        path = f"/{i % 3}"
        asked = [(":method", "POST"), (":scheme", "http"), (":authority", "h"), (":path", path), *extra]
        client.send_headers(stream, asked)
        ends.flush()
        if how == "reset":
            server.reset_stream(stream, 7)
            ends.flush()
            expected.append((stream, Outcome.ABORTED, 7, path, 0, None, None))
            continue
        ends.body(client, stream, size, pad)
        if how == "push":
            pushed = server.get_next_available_stream_id()
            server.push_stream(stream, pushed, [(n, v.replace("POST", "GET")) for n, v in asked[:4]])
            server.send_headers(pushed, [(":status", "200")])
            ends.body(server, pushed, 10, None)
            ends.flush()
            expected.append((pushed, Outcome.COMPLETE, None, path, 0, 200, 10))
        answer = 0 if how == "no body" else size
        server.send_headers(stream, [(":status", "200"), *extra], end_stream=how == "no body")
        if how == "trailers":
            server.send_data(stream, b"12345")
            server.send_headers(stream, [("x-end", "1")], end_stream=True)
            answer = 5
        elif how != "no body":
            ends.body(server, stream, size, pad)
        ends.flush()
        expected.append((stream, Outcome.COMPLETE, None, path, size, 200, answer))
    client.close_connection()
    ends.flush()
    found = [
        (
            s.owner,
            s.outcome,
            s.error_code,
            s.request.target,
            s.request.body_size,
            s.response and s.response.status,
            s.response and s.response.body_size,
        )
        for s in c.streams
    ]
    assert found == expected
    c.check_details()
