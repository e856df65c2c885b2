"""What a TLS handshake says in the clear: who is called, and which version is spoken (RFC 8446 section 4.1).

The bytes come from whoever opens a connection: no length in them is believed, and what cannot be read says
nothing.
"""

from __future__ import annotations

from rover.values.records import Direction

RECORD_HEADER = 5
HANDSHAKE = 22
CONTENT_TYPES = range(20, 24)
"""change_cipher_spec, alert, handshake, application_data."""
MAX_RECORD = 16384 + 2048
"""Bytes of a record's fragment: those of TLS 1.2 may be the longest (RFC 5246 section 6.2.3)."""
CLIENT_HELLO, SERVER_HELLO = 1, 2
SERVER_NAME, SUPPORTED_VERSIONS = 0, 43
"""Extensions."""
HOST_NAME = 0
VERSIONS = {0x0301: "1.0", 0x0302: "1.1", 0x0303: "1.2", 0x0304: "1.3"}
MAX_HELLO = 8192
"""Bytes of a direction that are kept until its hello is whole. With keys of post-quantum algorithms and many
extensions a ClientHello has some 2,000; what the kernel uploads of an opening is 4,096."""
MAX_NAME = 253
"""Characters of a host name (RFC 1035 section 2.3.4)."""


def begins_record(data: bytes | bytearray, offset: int) -> bool:
    """Whether a TLS record begins there, by its header: of random bytes, three in ten million do."""
    if len(data) - offset < RECORD_HEADER or data[offset] not in CONTENT_TYPES:
        return False
    return (
        data[offset + 1] == 3
        and data[offset + 2] <= 4
        and 0 < data[offset + 3] << 8 | data[offset + 4] <= MAX_RECORD
    )


class Handshake:
    """Reads both hellos out of the first bytes of a connection."""

    __slots__ = ("_opening", "client", "server_name", "size", "version")

    def __init__(self) -> None:
        self.client: Direction | None = None
        """Which way the ClientHello went; None while there was none."""
        self.server_name = ""
        """The host that the client asks for (RFC 6066 section 3); empty where it names none."""
        self.version = ""
        """As `tls.protocol.version` of OpenTelemetry; empty until a server has chosen."""
        self.size = 0
        """Bytes that are kept."""
        self._opening: list[bytearray | None] = [bytearray(), bytearray()]

    @property
    def over(self) -> bool:
        """Whether nothing more is to be learned."""
        return self._opening[0] is None and self._opening[1] is None

    def feed(self, direction: Direction, data: bytes | bytearray) -> None:
        """The next bytes of a direction."""
        opening = self._opening[direction]
        if opening is None or not data:
            return
        room = MAX_HELLO - len(opening)
        opening += data[:room]
        message = first_message(opening)
        if message is None and len(data) < room:
            self.size += len(data)
            return
        self._opening[direction] = None  # whatever it says, it says no more
        self.size = sum(len(kept) for kept in self._opening if kept is not None)
        if message:
            self._read(direction, message)

    def give_up(self, direction: Direction) -> None:
        """Bytes of this direction are missing."""
        self._opening[direction] = None

    def _read(self, direction: Direction, message: bytes) -> None:
        try:
            if message[0] == CLIENT_HELLO:
                name = server_name(client_extensions(message))
                self.client, self.server_name = direction, name
            elif message[0] == SERVER_HELLO:
                self.version = VERSIONS.get(chosen_version(message), "")
                if self.client is None:
                    self.client = Direction(1 - direction)
        except ValueError:
            return


class Reader:
    """Takes numbers and pieces off the front. Raises ValueError where there is less than is asked for."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        """So many bytes."""
        end = self._at + size
        if end > len(self._data):
            raise ValueError("too short")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def number(self, size: int) -> int:
        """One of so many bytes, big-endian."""
        return int.from_bytes(self.take(size))

    def vector(self, size: int) -> bytes:
        """What a length of `size` bytes precedes (RFC 8446 section 3.4)."""
        return self.take(self.number(size))


def first_message(data: bytes | bytearray) -> bytes | None:
    """The first handshake message, out of as many records as it takes; None while it is not whole, and empty
    when the bytes are of something else."""
    message = bytearray()
    at = 0
    while len(data) - at >= RECORD_HEADER:
        if data[at] != HANDSHAKE or not begins_record(data, at):
            return b""
        begin = at + RECORD_HEADER
        at = begin + (data[at + 3] << 8 | data[at + 4])
        message += data[begin:at]
        if message and message[0] not in (CLIENT_HELLO, SERVER_HELLO):
            return b""
        if len(message) >= 4:
            end = 4 + int.from_bytes(message[1:4])
            if len(message) >= end:
                return bytes(message[:end])
            if end > MAX_HELLO:
                return b""
        if at > len(data):
            break
    return None


def client_extensions(message: bytes) -> bytes:
    """Those of a ClientHello. Raises ValueError."""
    hello = Reader(message[4:])
    hello.take(2 + 32)  # version, random
    hello.vector(1)  # session
    hello.vector(2)  # cipher suites
    hello.vector(1)  # compression methods
    return hello.vector(2) if hello else b""


def server_name(extensions: bytes) -> str:
    """The host name in the extensions of a ClientHello; empty where there is none, or none that can be one.
    Raises ValueError."""
    found = extension(extensions, SERVER_NAME)
    names = Reader(Reader(found).vector(2) if found else b"")
    while names:
        kind, name = names.number(1), names.vector(2)
        if kind == HOST_NAME:
            text = name.decode("latin-1")
            # It is ASCII (RFC 6066 section 3), and goes to terminals as it is.
            fit = len(text) <= MAX_NAME and text.isascii() and text.isprintable() and " " not in text
            return text if fit else ""
    return ""


def chosen_version(message: bytes) -> int:
    """That of a ServerHello. Raises ValueError."""
    hello = Reader(message[4:])
    version = hello.number(2)
    hello.take(32)
    hello.vector(1)
    hello.take(2 + 1)  # cipher suite, compression method
    chosen = extension(hello.vector(2) if hello else b"", SUPPORTED_VERSIONS)
    return Reader(chosen).number(2) if chosen else version


def extension(extensions: bytes, wanted: int) -> bytes:
    """What the first of this kind holds; empty when there is none. Raises ValueError."""
    left = Reader(extensions)
    while left:
        kind, content = left.number(2), left.vector(2)
        if kind == wanted:
            return content
    return b""
