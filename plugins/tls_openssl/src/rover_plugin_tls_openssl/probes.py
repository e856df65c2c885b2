"""Where in a file OpenSSL is to be looked at: its functions, and the fields that count encrypted bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import BinaryIO

from rover import BioLayout, Moment, TlsFunction, TlsProbe, TlsProbes
from rover.files.elf import Elf, ElfError, Function, opened, places
from rover_plugin_tls_openssl import machine_code

PLAINTEXT = ("SSL_read", "SSL_read_ex", "SSL_write", "SSL_write_ex", "SSL_write_ex2")
"""What moves plaintext. The shorter ones return how much, the others put it where the last argument says."""
OTHERS = ("SSL_do_handshake", "SSL_shutdown", "SSL_peek", "SSL_peek_ex")
"""What may call the socket besides. SSL_connect and SSL_accept call SSL_do_handshake."""
FREE = "SSL_free"
LAYOUT = ("SSL_get_rbio", "SSL_get_wbio", "SSL_get_client_random")
COUNTERS = ("BIO_number_read", "BIO_number_written")
BIO_WRITE = "BIO_write"
QUIC = "SSL_is_quic"
"""From 3.2 on. Where it is there, the first field of an SSL tells QUIC from TLS."""
NAMES = (*PLAINTEXT, *OTHERS, FREE, *LAYOUT, *COUNTERS, BIO_WRITE, QUIC)

Functions = Mapping[str, Function]
Needed = Callable[[str], BinaryIO | None]

CRYPTO = re.compile(r"libcrypto(?:-[0-9a-f]+)?\.so")
VERSION = re.compile(rb"(?:OpenSSL|LibreSSL) \d+\.\d+\.\d+[a-z]{0,2}(?= )")
"""As OpenSSL_version(3) tells it, a date after it."""
MAX_TEXTS = 10_000
"""Texts with the library's name that are looked at for it: libcrypto has a hundred."""
STUBS = (".plt.sec", ".plt", ".plt.got")
MAX_CIPHERTEXT = 16
"""Places where libssl calls BIO_write: there are three to five."""


def find(file: BinaryIO, needed: Needed) -> TlsProbes | str | None:
    """See `rover.TlsLibrarySpec.find`."""
    try:
        elf = opened(file)
        if (
            len(elf.functions("SSL_read", "SSL_write")) < 2
        ):  # most files: to look for all names takes ten times as long
            return None
        functions = elf.functions(*NAMES)
    except ElfError:
        return None
    try:
        with_counters = elf if set(COUNTERS) <= set(functions) else crypto(elf, needed)
        library = version(elf) or (version(with_counters) if with_counters else None) or "OpenSSL"
        return TlsProbes(
            library=library,
            probes=(
                *plaintext(elf, functions, library),
                *(
                    probe
                    for name in OTHERS
                    if name in functions
                    for probe in call(elf, functions[name].address)
                ),
                *(
                    at(elf, functions[name].address, TlsFunction.FREE)
                    for name in (FREE,)
                    if name in functions
                ),
                *ciphertext(elf, functions),
            ),
            bio=layout(elf, functions, with_counters),
        )
    except ElfError as error:
        return f"OpenSSL in a file that cannot be read: {error}"


def crypto(elf: Elf, needed: Needed) -> Elf | None:
    """The library that the BIOs are in, where it is another file."""
    for name in elf.needed():
        if CRYPTO.match(name) and (file := needed(name)) is not None:
            return opened(file)
    return None


def version(elf: Elf) -> str | None:
    """What the library calls itself."""
    section = elf.section(".rodata")
    content = elf.content(section) if section is not None else b""
    for name in (b"OpenSSL ", b"LibreSSL "):
        for place in places(content, name, MAX_TEXTS):
            if match := VERSION.match(content, place):
                return match[0].decode()
    return None


# -- functions ---------------------------------------------------------------------------------


def at(
    elf: Elf, address: int, function: TlsFunction, moment: Moment = Moment.ENTRY, moved: int = 0
) -> TlsProbe:
    """A probe on the beginning of a function."""
    return TlsProbe(offset=elf.entry(address), function=function, moment=moment, moved=moved)


def call(elf: Elf, address: int, function: TlsFunction = TlsFunction.OTHER, moved: int = 0) -> list[TlsProbe]:
    """Those of a function whose end matters, too."""
    return [at(elf, address, function, moment, moved) for moment in (Moment.ENTRY, Moment.RETURN)]


def plaintext(elf: Elf, functions: Functions, library: str) -> list[TlsProbe]:
    """Of what moves plaintext. The internal functions that the others call are probed, where they can be
    told: what these begin with is cheap to probe, as the kernel need not single-step it."""
    # From 3.3 on writes have flags, as an argument before the last, and SSL_write_ex calls SSL_write_ex2.
    write_ex, moved = ("SSL_write_ex2", 5) if "SSL_write_ex2" in functions else ("SSL_write_ex", 4)
    probes = []
    for function, name, extended, last in (
        (TlsFunction.READ, "SSL_read", "SSL_read_ex", 4),
        (TlsFunction.WRITE, "SSL_write", write_ex, moved),
    ):
        internal = common(elf, functions, name, extended)
        if internal is not None:
            probes += call(elf, internal, function, last)
            continue
        probes += call(elf, functions[name].address, function)
        # LibreSSL's call the others, so they are counted already.
        if extended in functions and not library.startswith("LibreSSL"):
            probes += call(elf, functions[extended].address, function, last)
    return probes


def common(elf: Elf, functions: Functions, name: str, extended: str) -> int | None:
    """The address of the internal function that both of these call, the extended one with its own arguments.

    None where the compiler has made it a part of both (Node).
    """
    if extended not in functions:
        return None
    target = machine_code.first_call(elf.code(functions[extended]), functions[extended].address)
    if target is None:
        return None
    if not any(machine_code.calls(elf.code(functions[name]), functions[name].address, target)):
        return None
    stubs = [section for section in map(elf.section, STUBS) if section is not None]
    if any(0 <= target - stub.address < stub.size for stub in stubs):
        return None
    elf.offset(target)  # raises ElfError where there is no code
    return target


def ciphertext(elf: Elf, functions: Functions) -> list[TlsProbe]:
    """Where the library hands out encrypted bytes: its calls of BIO_write, for which programs have uses of
    their own; or BIO_write itself, where that is a part of the file."""
    if BIO_WRITE in functions:
        return [at(elf, functions[BIO_WRITE].address, TlsFunction.CIPHERTEXT)]
    text = elf.section(".text")
    slots = elf.slots(BIO_WRITE)
    if text is None or not slots:
        return []
    code = elf.content(text)
    places: set[int] = set()
    for slot in slots:
        places |= set(machine_code.through(code, text.address, machine_code.CALL_INDIRECT, slot))
    for name in STUBS:
        stub = elf.section(name)
        if stub is None:
            continue
        content = elf.content(stub)
        for slot in slots:
            for jump in machine_code.through(content, stub.address, machine_code.JUMP_INDIRECT, slot):
                entry = jump - (jump - stub.address) % machine_code.STUB
                places |= set(machine_code.calls(code, text.address, entry))
    return [
        TlsProbe(offset=elf.offset(place), function=TlsFunction.CIPHERTEXT, moment=Moment.ENTRY)
        for place in sorted(places)[:MAX_CIPHERTEXT]
    ]


# -- fields ------------------------------------------------------------------------------------


def layout(elf: Elf, functions: Functions, with_counters: Elf | None) -> BioLayout | None:
    """Read out of functions that return one field each, so that no version has to be known. None where they
    look otherwise."""
    if with_counters is None or not {"SSL_get_rbio", "SSL_get_wbio"} <= set(functions):
        return None
    counters = functions if with_counters is elf else with_counters.functions(*COUNTERS)
    if not set(COUNTERS) <= set(counters):
        return None
    num_read, num_written = (machine_code.field(with_counters.code(counters[name])) for name in COUNTERS)
    rbio = machine_code.field(elf.code(functions["SSL_get_rbio"]))
    if rbio is None or num_read is None or num_written is None:
        return None
    wbio = rbio + 8
    if not machine_code.reads(elf.code(functions["SSL_get_wbio"]), wbio):
        return None
    random = functions.get("SSL_get_client_random")
    return BioLayout(
        rbio=rbio,
        wbio=wbio,
        num_read=num_read,
        num_written=num_written,
        client_random=machine_code.path(elf.code(random)) if random else (),
        kind=0 if QUIC in functions else None,
    )
