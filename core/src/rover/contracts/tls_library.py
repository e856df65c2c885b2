"""What a plugin for a TLS library provides: where in a file to look, never what to do there.

A library is found in the files that processes run code from. A plugin reads such a file and says at which of
its instructions a source is to look into the process, and what it finds there. It does no more: whether, how
and for whom is the source's.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import BinaryIO

MAX_PROBES = 128
"""Of one file: crypto/tls of Go has 21 in three functions, OpenSSL a dozen."""
MAX_LIBRARY = 64
"""Characters of `TlsProbes.library`."""


class TlsFunction(enum.IntEnum):
    """What a probed function does for the connection that its object stands for."""

    READ = 1
    """Takes plaintext from the peer into a buffer."""
    WRITE = 2
    """Gives plaintext from a buffer to the peer."""
    OTHER = 3
    """Moves no plaintext (a handshake, a shutdown, a peek), but may call the socket."""
    FREE = 4
    """Ends the object: its address may be another's from now on."""
    CIPHERTEXT = 5
    """Is handed encrypted bytes, `buffer` and `size`, by the library within a call of the others."""


class Moment(enum.IntEnum):
    """When a probe is hit."""

    ENTRY = 1
    """Before the function has changed its arguments."""
    RETURN = 2
    """After it has returned to its caller. The probe's place is the same as that of ENTRY: a function's
    first instruction, or the one behind its endbr64. On that the return address lies on top of the stack."""
    LEAVE = 3
    """Before one of its RET instructions: on a stack that moves no return address may be replaced."""


class Convention(enum.IntEnum):
    """How arguments are passed on x86-64, which also says what calls nest in."""

    SYSV = 1
    """RDI, RSI, RDX, RCX, R8, R9, the result in RAX; calls nest in a thread."""
    GO = 2
    """RAX, RBX, RCX, RDI, RSI, R8, R9, the first result in RAX (Go 1.17 and later); calls nest in a
    goroutine, whose address is in R14, also in the registers of its system calls."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TlsProbe:
    """One instruction to look at. Arguments are named by number, from 1."""

    offset: int
    """Of the instruction, in the file."""
    function: TlsFunction
    moment: Moment
    object: int = 1
    """The argument that is the address of what stands for a connection. A CIPHERTEXT has none."""
    buffer: int = 2
    """The argument that is the address of the bytes."""
    size: int = 3
    """The argument that says how many there are, or how many there is room for."""
    moved: int = 0
    """How a READ or a WRITE tells how many bytes of plaintext it moved. 0: by its result, above 0 then.
    Otherwise the argument that is the address of a 64-bit number, which counts when the result is above 0."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BioLayout:
    """Where OpenSSL counts encrypted bytes: offsets within its structures, each 0 to 4,095."""

    rbio: int
    """Of the address of the BIO that is read from, in an SSL."""
    wbio: int
    """Of that which is written to."""
    num_read: int
    """Of the 64-bit number of bytes read so far, in a BIO."""
    num_written: int
    """Of the number written so far."""
    client_random: tuple[int, ...] = ()
    """Of the 32 bytes of the ClientHello's random, in an SSL: one offset, or two, where the first is that of
    an address and the second is of what lies there; empty when it is not known."""
    kind: int | None = None
    """Of a 32-bit number, in an SSL, that is 0 for TLS over a BIO and something else for QUIC; None where
    there is no QUIC."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TlsProbes:
    """What one file has of a TLS library."""

    library: str
    """For people: "OpenSSL 3.0.19"."""
    probes: tuple[TlsProbe, ...]
    convention: Convention = Convention.SYSV
    bio: BioLayout | None = None
    """None: the library counts no encrypted bytes. Its socket calls are made within its own calls."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TlsLibrarySpec:
    """A TLS library, returned by `register_tls_libraries`."""

    name: str
    """Short and unique: `openssl`."""
    find: Callable[[BinaryIO, Callable[[str], BinaryIO | None]], TlsProbes | str | None]
    """(file, needed): where to look in this file. It is asked once of every file that a process runs code of,
    so of most that have nothing of the library: then it returns None, fast. A text is the reason, for people,
    why one that has it cannot be read. `file` has a descriptor; it may change or be cut while it is read, and
    its content is a stranger's. `needed(name)` opens another library of the same process by its file's name,
    as DT_NEEDED has it; None when there is none. The caller closes both."""
