# cython: language_level=3, boundscheck=False, cdivision=True
# The compiled form of HeaderBlocks of header_blocks.py, with what it takes of huffman.py.

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp, memcpy

from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from rover_plugin_http2 import fields, frames, header_blocks
from rover_plugin_http2.undecodable import Undecodable

cdef enum:
    OVERHEAD = 31  # a line has its NUL besides name and value; RFC 7541 counts 32
    SCRATCH = 1024  # bytes of a string that are decoded on the stack; longer ones are rare
    PACKED = 2048  # bytes of a block's lines on the stack; longer ones are rare
    LONGEST = 30  # bits of a code
    END_OF_STRING = 256  # the symbol that nobody sends

cdef tuple STATIC = header_blocks.STATIC
cdef tuple STATIC_NAMES = header_blocks.STATIC_NAMES
cdef Py_ssize_t STATIC_COUNT = len(STATIC)
cdef Py_ssize_t FIRST_DYNAMIC = STATIC_COUNT + 1
cdef Py_ssize_t MAX_LIST = header_blocks.MAX_LIST
cdef Py_ssize_t MAX_TABLE = header_blocks.MAX_TABLE
cdef Py_ssize_t ENTRY_OVERHEAD = header_blocks.ENTRY_OVERHEAD
cdef long long UNLIMITED = header_blocks.UNLIMITED


# -- Huffman -------------------------------------------------------------------------------------


cdef struct Short:
    unsigned char symbol
    unsigned char length  # of its code; 0 where that is longer than these eight bits


# The code is canonical: codes of one length are neighbours, and longer ones are greater (RFC 7541 appendix B).
cdef Short SHORT[256]  # by the next eight bits: most symbols have a code that short
cdef unsigned int LIMIT[LONGEST + 1]  # by length: what is greater than all codes of it, as LONGEST bits
cdef unsigned int FIRST[LONGEST + 1]  # by length: its first code
cdef int PLACE[LONGEST + 1]  # by length: where the symbol of that is in SYMBOLS
cdef unsigned short SYMBOLS[257]  # in the order of their codes


cdef int fill() except -1:
    cdef int place, bits
    cdef unsigned int following = 0
    codes = sorted(
        (length, code, symbol)
        for symbol, (code, length) in enumerate(zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True))
    )
    for place, (length, code, symbol) in enumerate(codes):
        assert code << LONGEST - length == following
        if not LIMIT[length]:
            FIRST[length] = code
            PLACE[length] = place
        following += 1 << LONGEST - length
        LIMIT[length] = following
        SYMBOLS[place] = symbol
        if length <= 8:
            for bits in range(1 << 8 - length):
                SHORT[code << 8 - length | bits] = Short(symbol, length)
    assert following == 1 << LONGEST
    return 0


fill()


cdef Py_ssize_t huffman(const unsigned char *coded, Py_ssize_t size, unsigned char *plain) except -1:
    """Decodes to `plain`, which takes 8/5 of the size; the shortest code has five bits. The string's size."""
    cdef const unsigned char *end = coded + size
    cdef unsigned char *begin = plain
    cdef uint64_t bits = 0  # the lowest `left` of them are to be decoded
    cdef int left = 0, length
    cdef unsigned int window
    cdef unsigned short symbol
    cdef Short short
    while True:
        while left <= 56 and coded < end:
            bits = bits << 8 | coded[0]
            coded += 1
            left += 8
        while left >= 8:
            short = SHORT[bits >> (left - 8) & 0xFF]
            if not short.length:
                break
            plain[0] = short.symbol
            plain += 1
            left -= short.length
        if left <= 56 and coded < end:
            continue
        # A long code is next, or the last bits, after which those of padding are thought.
        if left >= LONGEST:
            window = <unsigned int>(bits >> (left - LONGEST))
        else:
            window = <unsigned int>(bits << (LONGEST - left)) | (1 << (LONGEST - left)) - 1
        window &= (1 << LONGEST) - 1
        short = SHORT[window >> (LONGEST - 8)]
        length, symbol = short.length, short.symbol
        if not length:
            length = 9
            while not window < LIMIT[length]:
                length += 1
            symbol = SYMBOLS[PLACE[length] + <int>((window >> (LONGEST - length)) - FIRST[length])]
        if length > left:
            break
        if symbol == END_OF_STRING:
            raise Undecodable("hpack", "the end-of-string code inside a string")
        plain[0] = <unsigned char>symbol
        plain += 1
        left -= length
    # Padding is at most 7 bits, all of them 1.
    if left > 7 or bits & ((1 << left) - 1) != (1 << left) - 1:
        raise Undecodable("hpack", "a string that ends inside a Huffman code")
    return plain - begin


# -- header blocks -------------------------------------------------------------------------------


cdef struct Block:
    const unsigned char *at
    const unsigned char *end


cdef int ended() except -1:
    raise Undecodable("hpack", "the block ends inside a field")


cdef long long integer(Block *block, long long mask) except -1:
    """An integer whose prefix is the low bits of the byte before (section 5.1)."""
    cdef long long value = (block.at - 1)[0] & mask
    cdef int shift = 0
    cdef unsigned char byte
    if value < mask:
        return value
    while True:
        if block.at == block.end:
            ended()
        byte = block.at[0]
        block.at += 1
        value += <long long>(byte & 0x7F) << shift
        if byte < 0x80:
            return value
        shift += 7
        if shift > 28:  # sizes and indices are below 2**32: prefix and five bytes
            raise Undecodable("hpack", "an integer of more than five bytes")


cdef bytes behind(const char *head, Py_ssize_t size, Block *block):
    """What stands in `head`, then a string literal (section 5.2)."""
    cdef unsigned char scratch[SCRATCH]
    cdef const unsigned char *plain
    cdef Py_ssize_t length, decoded
    cdef bint coded
    cdef bytearray room
    cdef bytes made
    if block.at == block.end:
        ended()
    coded = block.at[0] & 0x80
    block.at += 1
    length = integer(block, 0x7F)
    if length > block.end - block.at:
        raise Undecodable("hpack", "the block ends inside a string")
    if not coded:
        plain, decoded = block.at, length
    elif length * 8 // 5 <= SCRATCH:
        decoded = huffman(block.at, length, scratch)
        plain = scratch
    else:
        room = PyByteArray_FromStringAndSize(NULL, length * 8 // 5)
        decoded = huffman(block.at, length, <unsigned char *>PyByteArray_AS_STRING(room))
        plain = <unsigned char *>PyByteArray_AS_STRING(room)
    block.at += length
    made = PyBytes_FromStringAndSize(NULL, size + decoded)
    memcpy(PyBytes_AS_STRING(made), head, size)
    memcpy(PyBytes_AS_STRING(made) + size, plain, decoded)
    return made


cdef int append(Packed *out, const char *line, Py_ssize_t size) except -1:
    cdef char *at
    cdef char *made
    if out.room - out.size <= size:
        made = <char *>PyMem_Realloc(out.heap, 2 * (out.size + size + 1))
        if made == NULL:
            raise MemoryError
        if out.heap == NULL:
            memcpy(made, out.at, out.size)
        out.at = out.heap = made
        out.room = 2 * (out.size + size + 1)
    if line[0] == 58 and out.pseudo == out.size:  # a colon
        out.pseudo += size + 1
    elif size >= 7 and memcmp(line, b"cookie\0", 7) == 0:
        out.crumbs += 1
    at = out.at + out.size
    out.size += size + 1
    at[0] = 10
    at += 1
    memcpy(at, line, size)
    while True:  # a line feed is replaced as `fields.pack` does
        at = <char *>memchr(at, 10, out.at + out.size - at)
        if at == NULL:
            return 0
        at[0] = 32


cpdef HeaderBlocks new_blocks():
    return HeaderBlocks()


@cython.final
cdef class HeaderBlocks:
    def __init__(self):
        self._entries = []
        self._evicted = 0
        self._maximum = self._limit = frames.DEFAULT_TABLE_SIZE
        self._size = 0
        self._since = -1

    cpdef doubt(self):
        if self._since > 0:
            self.settle(False)
        self._since = 0

    cpdef settle(self, bint nothing_added):
        cdef Py_ssize_t since = self._since
        self._since = -1
        if since < 0 or nothing_added:
            return
        while len(self._entries) - self._evicted > since:
            self._drop()
        self._tidy()

    cpdef tuple fields(self, object data, Py_ssize_t start, Py_ssize_t end, object limit):
        cdef char stack[PACKED]
        cdef Packed out
        cdef const unsigned char *begin
        if type(data) is bytes:
            begin = <const unsigned char *>PyBytes_AS_STRING(data)
        elif type(data) is bytearray:
            begin = <const unsigned char *>PyByteArray_AS_STRING(data)
        else:
            raise TypeError("a header block is in bytes or in a bytearray")
        if not 0 <= start <= end <= len(data):
            raise ValueError("a header block outside of its bytes")
        self._limit = UNLIMITED if limit is None else limit
        out.at = stack
        out.heap = NULL
        out.room = PACKED
        out.size = out.pseudo = out.crumbs = 0
        try:
            self._read(begin + start, begin + end, &out)
            if out.crumbs > 1:
                return fields.pack_apart(out.at[1 : out.size].split(b"\n"))
            return out.at[: out.pseudo], out.at[out.pseudo : out.size]
        finally:
            PyMem_Free(out.heap)

    cdef int _read(self, const unsigned char *at, const unsigned char *end, Packed *out) except -1:
        cdef Block left
        cdef unsigned char first
        cdef Py_ssize_t index, room = MAX_LIST
        cdef bytes line, name
        cdef const char *text
        left.at = at
        left.end = end
        while left.at < left.end:
            first = left.at[0]
            left.at += 1
            if first & 0x80:  # an indexed field
                index = integer(&left, 0x7F)
                if index == 0:
                    raise Undecodable("hpack", "index 0")
                line = <bytes>STATIC[index - 1] if index <= STATIC_COUNT else self._entry(index)
            elif first & 0xE0 == 0x20:  # a change of the table's size
                if out.size:
                    raise Undecodable("hpack", "a table size update after a field")
                self._resize(integer(&left, 0x1F))
                continue
            else:  # a literal: added to the table, or not, or never
                index = integer(&left, 0x3F if first & 0x40 else 0x0F)
                if index > STATIC_COUNT:
                    name = self._entry(index)
                    text = PyBytes_AS_STRING(name)
                    line = behind(text, <const char *>memchr(text, 0, PyBytes_GET_SIZE(name)) + 1 - text, &left)
                else:
                    if index:
                        name = <bytes>STATIC_NAMES[index - 1]
                    else:
                        name = behind(b"", 0, &left)
                        text = PyBytes_AS_STRING(name)
                        if memchr(text, 0, PyBytes_GET_SIZE(name)) != NULL:
                            raise Undecodable("hpack", "a NUL in a field name")
                        name += b"\0"
                    line = behind(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), &left)
                if first & 0x40:
                    self._add(line)
            # Two bytes can name an entry of the whole table's size, and make a copy of its name.
            room -= PyBytes_GET_SIZE(line) + OVERHEAD
            if room < 0:
                raise Undecodable("hpack", f"a header list of more than {MAX_LIST} bytes")
            append(out, PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line))
        return 0

    cdef bytes _entry(self, Py_ssize_t index):
        """A dynamic entry; index FIRST_DYNAMIC is the newest."""
        cdef Py_ssize_t known = len(self._entries) - self._evicted
        if 0 <= self._since < known:
            known = self._since
        if index - FIRST_DYNAMIC >= known:
            raise Undecodable("hpack", f"index {index} was never seen added ({known} entries are known)")
        return <bytes>self._entries[len(self._entries) - 1 - (index - FIRST_DYNAMIC)]

    cdef int _add(self, bytes line) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(line) + OVERHEAD
        if size > self._maximum:
            self._entries.clear()
            self._evicted = 0
            self._size = self.memory = 0
            return 0
        self._entries.append(line)
        self._size += size
        self.memory += size + ENTRY_OVERHEAD
        if self._since >= 0:
            self._since += 1
        return self._evict()

    cdef int _resize(self, long long size) except -1:
        if size > self._limit:
            raise Undecodable("hpack", f"a table of {size} bytes where {self._limit} were announced")
        self._maximum = min(size, MAX_TABLE)
        return self._evict()

    cdef int _evict(self) except -1:
        if self._size > self._maximum:
            while self._size > self._maximum:
                self._drop()
            self._tidy()
        return 0

    cdef int _drop(self) except -1:
        """The oldest entry goes."""
        cdef bytes line = <bytes>self._entries[self._evicted]
        self._entries[self._evicted] = None
        self._evicted += 1
        self._size -= PyBytes_GET_SIZE(line) + OVERHEAD
        self.memory -= PyBytes_GET_SIZE(line) + OVERHEAD + ENTRY_OVERHEAD
        return 0

    cdef int _tidy(self) except -1:
        if self._evicted > len(self._entries) >> 1:
            del self._entries[: self._evicted]
            self._evicted = 0
        return 0
