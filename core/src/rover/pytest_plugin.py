"""Fixtures for plugin authors, wherever rover is installed. `rover.testing` has what they are made of.

pytest loads this in every project of the environment, so it imports nothing until a fixture is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rover import AccessLog, Role
    from rover.testing import Play


@pytest.fixture(params=["client", "server"])
def rover_watched(request: pytest.FixtureRequest) -> Role:
    """The end that is watched: the test runs once for each."""
    from rover import Role

    return Role(request.param)


@pytest.fixture
def rover_play() -> Iterator[Callable[..., Play]]:
    """Makes plays: `rover_play(spec, role=rover_watched)`. When the test is over, each connection that is
    still open ends, and every call must have been delivered once, and nothing kept."""
    from rover.testing import Play, check_delivery

    plays: list[Play] = []

    def make(*arguments: Any, **how: Any) -> Play:
        plays.append(Play(*arguments, **how))
        return plays[-1]

    yield make
    for play in plays:
        if not play.closed:
            play.close()
        check_delivery(play)


@pytest.fixture
def rover_converse(rover_watched: Role) -> Callable[..., Play]:
    """Plays a conversation, watched at the client and again at the server, and checks the delivery of its
    calls: `rover_converse(spec, [(Role.CLIENT, b"ping"), (Role.SERVER, b"pong")], cut=1, lost=[3])`."""
    from rover.testing import check_delivery, converse

    def play(*arguments: Any, **how: Any) -> Play:
        played = converse(*arguments, **{"watched": rover_watched, **how})
        if played.closed:
            check_delivery(played)
        return played

    return play


@pytest.fixture
def rover_logs() -> list[AccessLog]:
    """Access logs of every kind, made up: what a sink is to take."""
    from rover.testing import access_logs

    return access_logs()
