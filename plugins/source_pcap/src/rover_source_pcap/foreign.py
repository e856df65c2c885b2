"""Files that are handed in as captures and are something else: what they are, and what to do."""

from __future__ import annotations

_UNPACK = "is compressed with {}: unpack it first ({})"
_CONVERT = "is a capture of the format {}, which is not read: convert it first (editcap -F pcap)"

_BEGINNINGS = (
    (b"\x28\xb5\x2f\xfd", _UNPACK.format("Zstandard", "zstd -d")),
    (b"\xfd7zXZ\0", _UNPACK.format("xz", "xz -d")),
    (b"BZh", _UNPACK.format("bzip2", "bzip2 -d")),
    (b"\x04\x22\x4d\x18", _UNPACK.format("LZ4", "lz4 -d")),
    (b"LZIP", _UNPACK.format("lzip", "lzip -d")),
    (b"\x89LZO\0\r\n\x1a\n", _UNPACK.format("lzop", "lzop -d")),
    (b"\x1f\x9d", _UNPACK.format("compress", "gzip -d")),
    (b"PK\x03\x04", "is a ZIP archive: unpack it first (unzip)"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive: unpack it first (7z x)"),
    (b"snoop\0\0\0", _CONVERT.format("snoop")),
    (b"RTSS", _CONVERT.format("Microsoft Network Monitor 1")),
    (b"GMBU", _CONVERT.format("Microsoft Network Monitor 2")),
    (b"TRSNIFF data", _CONVERT.format("Sniffer")),
    (b"XCP\0", _CONVERT.format("NetXray")),
    (b"iptrace ", _CONVERT.format("iptrace")),
    (b"\xa1\xb2\xcd\x34", _CONVERT.format("modified pcap")),
    (b"\x34\xcd\xb2\xa1", _CONVERT.format("modified pcap")),
    (b"btsnoop\0", "is a capture of Bluetooth: there is no TCP in it"),
)
"""Magic numbers, as Wireshark's wiretap and file(1) know them."""
_TAR = 257, b"ustar"
_HAR = b'"log"'
"""The only member of an HTTP archive (http://www.softwareishard.com/blog/har-12-spec)."""


def describe(opening: bytes) -> str | None:
    """What the file is that begins like this (512 bytes tell it of all): a predicate, for a line that
    begins with its name. None when we do not know either."""
    if not opening:
        return "is empty"
    for magic, what in _BEGINNINGS:
        if opening.startswith(magic):
            return what
    if opening.startswith(_TAR[1], _TAR[0]):
        return "is a tar archive: unpack it first (tar -x)"
    if opening.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and _HAR in opening[:512]:
        return "is an HTTP archive (HAR): there are no packets in it"
    return None
