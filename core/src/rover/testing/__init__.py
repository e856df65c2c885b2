"""For plugin authors: traffic played through the pipeline in memory, and the laws that decoders keep.

play = Play(spec)
play.send(Direction.EGRESS, b"ping\\n")
play.send(Direction.INGRESS, b"pong\\n")
assert [log.attributes for log in play.logs] == [...]

check_decoder(spec, [[(Role.CLIENT, b"ping\\n"), (Role.SERVER, b"pong\\n")]])
"""

from rover.testing.case import check_delivery
from rover.testing.conversation import Conversation, cut
from rover.testing.converse import converse
from rover.testing.laws import check_decoder
from rover.testing.play import LawError, Play, connection
from rover.testing.sinks import access_logs, check_sink

__all__ = [
    "Conversation",
    "LawError",
    "Play",
    "access_logs",
    "check_decoder",
    "check_delivery",
    "check_sink",
    "connection",
    "converse",
    "cut",
]
