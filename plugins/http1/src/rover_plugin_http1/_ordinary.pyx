# cython: language_level=3, boundscheck=False, cdivision=True
# The compiled form of ordinary.py: each head in one pass over its bytes.

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

from rover.streams.buffer cimport StreamBuffer
from rover_plugin_http1._head_fields cimport fields_of, mark
from rover_plugin_http1.head cimport RequestHead, ResponseHead

import sys

from rover_plugin_http1 import framing, startline

cdef extern from *:
    int ctz "__builtin_ctzll"(uint64_t bits) nogil

cdef enum:
    NOTHING = -1
    CHUNKED = -2
    UNUSUAL = -3
    MAX_DIGITS = 18

# For eight bytes at once: https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord
cdef uint64_t EACH = 0x0101010101010101
cdef bint LITTLE = sys.byteorder == "little"
cdef uint64_t HIGHEST = 0x8080808080808080
cdef Py_ssize_t MAX_METHOD = startline.MAX_METHOD
cdef dict METHODS = {name: name.decode() for name in (b"PUT", b"DELETE", b"HEAD", b"PATCH")}
cdef unsigned char TOKEN[256]  # RFC 9110 section 5.6.2
cdef unsigned char FIELD[256]  # what a value or a reason phrase may hold

assert (framing.NOTHING, framing.CHUNKED) == (NOTHING, CHUNKED)


cdef int fill() except -1:
    cdef int c
    for c in range(256):
        TOKEN[c] = c in b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
        FIELD[c] = c not in b"\x00\n\r\x0b\x0c"
    return 0


fill()


cdef struct Line:
    Py_ssize_t method_size
    const unsigned char *target
    const unsigned char *target_end


cdef struct Found:
    Py_ssize_t hosts
    long long content
    Py_ssize_t lengths
    Py_ssize_t codings
    const unsigned char *expect  # the first one's value
    const unsigned char *expect_end
    uint64_t marks  # of all names


cdef inline bint same(const unsigned char *text, const char *lower, Py_ssize_t size) noexcept nogil:
    """Whether ASCII letters are these, in either case."""
    cdef Py_ssize_t at
    for at in range(size):
        if (text[at] + 32 if 65 <= text[at] <= 90 else text[at]) != <unsigned char>lower[at]:
            return False
    return True


cdef const unsigned char *fields(
    const unsigned char *at, const unsigned char *end, Found *found
) noexcept nogil:
    """Where fields and a blank line that begin at `at` end; NULL when they do not, before `end`."""
    cdef const unsigned char *name
    cdef const unsigned char *value
    cdef const unsigned char *last
    cdef Py_ssize_t size
    cdef uint64_t eight
    found.marks = 0
    found.hosts = found.lengths = found.codings = 0
    found.content = NOTHING
    found.expect = NULL
    while at < end and at[0] != 13 and at[0] != 10:
        name = at
        while end - at >= 4 and TOKEN[at[0]] & TOKEN[at[1]] & TOKEN[at[2]] & TOKEN[at[3]]:
            at += 4
        while at < end and TOKEN[at[0]]:
            at += 1
        size = at - name
        if size == 0 or at >= end or at[0] != 58:
            return NULL
        found.marks |= mark(name[0], size)
        at += 1
        value = at
        while end - at >= 8:
            memcpy(&eight, at, 8)
            eight = (eight - 0x20 * EACH) & ~eight & HIGHEST
            if eight:  # a control character is among them
                if LITTLE:
                    at += ctz(eight) >> 3  # the first
                break
            at += 8
        while at < end and FIELD[at[0]]:
            at += 1
        last = at
        at = after_line(at, end)
        if at == NULL:
            return NULL
        if size == 4:
            if same(name, b"host", 4):
                found.hosts += 1
        elif size == 6:
            if found.expect == NULL and same(name, b"expect", 6):
                found.expect = value
                found.expect_end = last
        elif size == 14:
            if same(name, b"content-length", 14):
                found.lengths += 1
                found.content = length(value, last)
        elif size == 17 and same(name, b"transfer-encoding", 17):
            found.codings += 1
            trim(&value, &last)
            found.content = CHUNKED if last - value == 7 and same(value, b"chunked", 7) else UNUSUAL
    if found.lengths + found.codings > 1:
        found.content = UNUSUAL
    return after_line(at, end)


cdef inline const unsigned char *after_line(const unsigned char *at, const unsigned char *end) noexcept nogil:
    """After the line end at `at`, CR LF or LF; NULL when there is none."""
    if end - at >= 2 and at[0] == 13 and at[1] == 10:
        return at + 2
    return at + 1 if at < end and at[0] == 10 else NULL


cdef void trim(const unsigned char **value, const unsigned char **end) noexcept nogil:
    while value[0] < end[0] and (value[0][0] == 32 or value[0][0] == 9):
        value[0] += 1
    while value[0] < end[0] and ((end[0] - 1)[0] == 32 or (end[0] - 1)[0] == 9):
        end[0] -= 1


cdef long long length(const unsigned char *value, const unsigned char *end) noexcept nogil:
    cdef long long result = 0
    trim(&value, &end)
    if value == end or end - value > MAX_DIGITS:
        return UNUSUAL
    while value < end:
        if not 48 <= value[0] <= 57:
            return UNUSUAL
        result = 10 * result + value[0] - 48
        value += 1
    return result


cdef const unsigned char *bytes_of(object data, Py_ssize_t start, Py_ssize_t end) except NULL:
    if start < 0 or start >= end:
        raise ValueError("an empty head")
    if type(data) is bytes:
        if end <= PyBytes_GET_SIZE(data):
            return <const unsigned char *>PyBytes_AS_STRING(data)
    elif type(data) is bytearray and end <= PyByteArray_GET_SIZE(data):
        return <const unsigned char *>PyByteArray_AS_STRING(data)
    raise ValueError("a head that is longer than its bytes")


cdef const unsigned char *request_line(
    const unsigned char *begin, const unsigned char *stop, Line *line
) noexcept nogil:
    """The end of the request line that begins there; NULL when that is none, or not before `stop`."""
    cdef const unsigned char *at = begin
    while at < stop and TOKEN[at[0]]:
        at += 1
    line.method_size = at - begin
    if line.method_size == 0 or line.method_size > MAX_METHOD or at >= stop or at[0] != 32:
        return NULL
    at += 1
    line.target = at
    while at < stop and 0x21 <= at[0] <= 0x7E:
        at += 1
    line.target_end = at
    if at == line.target or stop - at < 10 or not version(at + 1) or at[0] != 32:
        return NULL
    return after_line(at + 9, stop)


cpdef bint opens_ordinary_request(data, Py_ssize_t limit) except -1:
    """Whether the first line is an ordinary request's, and whole before `limit`."""
    cdef Line line
    cdef Py_ssize_t size = min(len(data), limit)
    if size <= 0:
        return False
    cdef const unsigned char *begin = bytes_of(data, 0, size)
    return request_line(begin, begin + size, &line) != NULL


cdef const unsigned char *next_of(StreamBuffer buffer) except NULL:
    """Where the unread bytes are, if there are any."""
    if buffer.lent:
        return <const unsigned char *>buffer.loan + buffer.offset
    return bytes_of(buffer.data, buffer.offset, buffer.offset + buffer.here) + buffer.offset


cpdef RequestHead next_request(StreamBuffer buffer, Py_ssize_t limit):
    """The head that is next, if it is an ordinary one, whole, and has at most `limit` bytes."""
    cdef const unsigned char *begin = next_of(buffer)
    return request_at(begin, begin + min(buffer.here, limit))


cpdef ResponseHead next_response(StreamBuffer buffer, Py_ssize_t limit):
    cdef const unsigned char *begin = next_of(buffer)
    return response_at(begin, begin + min(buffer.here, limit))


cpdef RequestHead ordinary_request(data, Py_ssize_t start, Py_ssize_t limit):
    """The head at `start`, if it is an ordinary one and whole before `limit`."""
    cdef const unsigned char *begin = bytes_of(data, start, limit) + start
    return request_at(begin, begin + (limit - start))


cpdef ResponseHead ordinary_response(data, Py_ssize_t start, Py_ssize_t limit):
    """The head at `start`, if it is an ordinary one and whole before `limit`."""
    cdef const unsigned char *begin = bytes_of(data, start, limit) + start
    return response_at(begin, begin + (limit - start))


cdef RequestHead request_at(const unsigned char *begin, const unsigned char *stop):
    cdef const unsigned char *end
    cdef const unsigned char *at
    cdef Line line
    cdef Found found
    cdef bint expects = False
    cdef Py_ssize_t size
    end = request_line(begin, stop, &line)
    if end == NULL:
        return None
    at = line.target_end
    size = line.method_size
    end = fields(end, stop, &found)
    if end == NULL or found.hosts > 1 or found.content == UNUSUAL:
        return None
    if at[8] == 49 and not found.hosts:
        return None
    if found.expect != NULL:
        while found.expect_end - found.expect >= 12 and not expects:
            expects = same(found.expect, b"100-continue", 12)
            found.expect += 1
    cdef RequestHead head = RequestHead.__new__(RequestHead)
    head.method = method_of(<const char *>begin, size)
    head.target = PyUnicode_DecodeASCII(<const char *>line.target, line.target_end - line.target, NULL)
    head.version = "1.1" if at[8] == 49 else "1.0"
    head.headers = fields_of(PyBytes_FromStringAndSize(<const char *>begin, end - begin), found.marks)
    head.size = end - begin
    head.content = found.content
    head.expects = expects
    head.special = size == 4 and memcmp(begin, b"HEAD", 4) == 0 or size == 7 and memcmp(begin, b"CONNECT", 7) == 0
    return head


cdef str method_of(const char *method, Py_ssize_t size):
    if size == 3 and memcmp(method, b"GET", 3) == 0:
        return "GET"
    if size == 4 and memcmp(method, b"POST", 4) == 0:
        return "POST"
    found = PyBytes_FromStringAndSize(method, size)
    return METHODS.get(found) or found.decode("ascii")


cdef ResponseHead response_at(const unsigned char *begin, const unsigned char *stop):
    cdef const unsigned char *end
    cdef const unsigned char *at = begin + 12
    cdef Found found
    if stop - begin < 14 or not version(begin) or begin[8] != 32:
        return None
    if not (49 <= begin[9] <= 57 and 48 <= begin[10] <= 57 and 48 <= begin[11] <= 57):
        return None
    if at[0] == 32:
        at += 1
        while at < stop and FIELD[at[0]]:
            at += 1
    end = after_line(at, stop)
    if end == NULL:
        return None
    end = fields(end, stop, &found)
    if end == NULL or found.content == UNUSUAL:
        return None
    cdef ResponseHead head = ResponseHead.__new__(ResponseHead)
    head.status = 100 * (begin[9] - 48) + 10 * (begin[10] - 48) + begin[11] - 48
    head.version = "1.1" if begin[7] == 49 else "1.0"
    head.headers = fields_of(PyBytes_FromStringAndSize(<const char *>begin, end - begin), found.marks)
    head.size = end - begin
    head.content = found.content
    return head


cdef inline bint version(const unsigned char *at) noexcept nogil:
    """Whether HTTP/1.0 or HTTP/1.1 stands there; eight bytes must."""
    return (
        at[0] == 72 and at[1] == 84 and at[2] == 84 and at[3] == 80 and at[4] == 47 and at[5] == 49
        and at[6] == 46 and (at[7] == 48 or at[7] == 49)
    )
