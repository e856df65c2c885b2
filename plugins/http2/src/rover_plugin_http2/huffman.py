"""Huffman-coded strings (RFC 7541 section 5.2 and appendix B)."""

from __future__ import annotations

import functools

from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from rover_plugin_http2.undecodable import Undecodable

_END_OF_STRING = 256


class _Node(dict[int, "tuple[bytes, _Node]"]):
    """A prefix of codes; maps the next byte to (what it completes, the prefix it leaves).

    A string is decoded a byte per step instead of a bit. Steps are worked out when first
    taken: of the 65,536 there are (8 MB), text takes a few hundred.
    """

    __slots__ = ("branches", "complete")

    def __init__(self) -> None:
        self.branches: list[_Node | int] = []
        """Behind a 0 and behind a 1: a longer prefix, or the symbol that is complete."""
        self.complete = False
        """Whether a string may end here: padding is at most 7 bits, all of them 1."""

    def __missing__(self, byte: int) -> tuple[bytes, _Node]:
        root = _root()
        node = self
        symbols = bytearray()
        for bit in range(7, -1, -1):
            branch = node.branches[byte >> bit & 1]
            if isinstance(branch, _Node):
                node = branch
            elif branch == _END_OF_STRING:
                raise Undecodable("hpack", "the end-of-string code inside a string")
            else:
                symbols.append(branch)
                node = root
        step = self[byte] = (bytes(symbols), node)
        return step


@functools.cache
def _root() -> _Node:
    codes = zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True)
    root = _tree([(format(code, f"0{length}b"), symbol) for symbol, (code, length) in enumerate(codes)])
    node = root
    for _ in range(8):
        node.complete = True
        longer = node.branches[1]
        assert isinstance(longer, _Node)  # noqa: S101  (the longest codes are 30 bits, all ones at first)
        node = longer
    return root


def _tree(codes: list[tuple[str, int]]) -> _Node:
    node = _Node()
    for bit in "01":
        rest = [(code[1:], symbol) for code, symbol in codes if code[0] == bit]
        node.branches.append(rest[0][1] if rest[0][0] == "" else _tree(rest))
    return node


def decode(coded: bytes) -> bytes:
    """The string. Raises Undecodable (`hpack`) for what no encoder makes."""
    node = _root()
    plain = bytearray()
    for byte in coded:
        symbols, node = node[byte]
        plain += symbols
    if not node.complete:
        raise Undecodable("hpack", "a string that ends inside a Huffman code")
    return bytes(plain)
