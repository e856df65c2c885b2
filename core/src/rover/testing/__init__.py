"""For plugin authors: traffic played through the pipeline in memory, and the laws that decoders keep.

play = Play(spec)
play.send(Direction.EGRESS, b"ping\\n")
play.send(Direction.INGRESS, b"pong\\n")
assert [log.attributes for log in play.logs] == [...]

check_decoder(spec, [[(Role.CLIENT, b"ping\\n"), (Role.SERVER, b"pong\\n")]])
"""

from rover.testing.play import Play, connection

__all__ = ["Play", "connection"]
