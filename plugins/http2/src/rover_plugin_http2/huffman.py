"""Huffman-coded strings (RFC 7541 section 5.2 and appendix B)."""

from __future__ import annotations

import functools
from typing import Any

from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from rover_plugin_http2.undecodable import Undecodable

_END_OF_STRING = 256
_COMPLETE, _BRANCHES = 16, 17

_Row = list[Any]
"""A prefix of codes. At 0 to 15: what the next four bits complete, and the row of the prefix that they
leave; None until that has been worked out. At _COMPLETE: whether a string may end here: padding
is at most 7 bits, all of them 1. At _BRANCHES: what follows a 0 and what follows a 1, the row of
a longer prefix or the symbol that is complete.

A string is decoded four bits per step: all 4,096 steps there are take less than 1 MB, whatever is sent.
"""


def decode(coded: bytes) -> bytes:
    """The string. Raises Undecodable (`hpack`) for what no encoder makes."""
    row = _root()
    plain = bytearray()
    for byte in coded:
        for bits in (byte >> 4, byte & 15):
            step = row[bits]
            if step is None:
                step = _work_out(row, bits)
            symbols, row = step
            plain += symbols
    if not row[_COMPLETE]:
        raise Undecodable("hpack", "a string that ends inside a Huffman code")
    return bytes(plain)


def _work_out(row: _Row, bits: int) -> tuple[bytes, _Row]:
    following = row
    symbols = bytearray()
    for bit in range(3, -1, -1):
        branch = following[_BRANCHES][bits >> bit & 1]
        if isinstance(branch, list):
            following = branch
        elif branch == _END_OF_STRING:
            raise Undecodable("hpack", "the end-of-string code inside a string")
        else:
            symbols.append(branch)
            following = _root()
    step = row[bits] = (bytes(symbols), following)
    return step


@functools.cache
def _root() -> _Row:
    codes = zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True)
    root = _tree([(format(code, f"0{length}b"), symbol) for symbol, (code, length) in enumerate(codes)])
    row = root
    for _ in range(8):
        row[_COMPLETE] = True
        row = row[_BRANCHES][1]
    return root


def _tree(codes: list[tuple[str, int]]) -> _Row:
    branches: list[_Row | int] = []
    for bit in "01":
        rest = [(code[1:], symbol) for code, symbol in codes if code[0] == bit]
        branches.append(rest[0][1] if rest[0][0] == "" else _tree(rest))
    return [*[None] * 16, False, branches]
