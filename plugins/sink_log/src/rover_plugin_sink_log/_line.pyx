# cython: language_level=3, boundscheck=False, cdivision=True
# The compiled form of line.py: the same bytes, written field by field into one buffer, without a
# dictionary of the whole. Whatever is not ordinary is left to line.py, line by line.

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Next
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from rover.values.access_log cimport AccessLog
from rover.values.attributes cimport Attributes, Shape
from rover.values.connection cimport Connection
from rover.values.records cimport Address, Detail, Process

import orjson

from rover import SYSCALL_NAMES, Outcome, Role, Syscall
from rover_plugin_sink_log import line as plain
from rover_plugin_sink_log.time_text import TimeText

cdef long long SECOND = 1_000_000_000
cdef enum:
    # Connections whose constant part is kept, at some 2 kB with all they hold. Many will have been closed:
    # with four times as many, 7 MB were still taken when every connection had ended.
    PLACES = 1024
    PLACE_BITS = 10
cdef Py_ssize_t MAX_KEYS = 1024  # attribute names kept encoded; plugins have a few dozen
cdef long long FAR = 1 << 61  # ns: times beyond (or before minus) this could overflow in a sum
# For eight bytes at once: https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord
cdef uint64_t EACH = 0x0101010101010101
cdef uint64_t HIGHEST = 0x8080808080808080
cdef const char *HEX = b"0123456789abcdef"
cdef bytes TWO_DIGITS = b"".join([b"%02d" % number for number in range(100)])
cdef const char *PAIRS = TWO_DIGITS
cdef object COMPLETE = Outcome.COMPLETE
cdef object BREAK = Outcome.BREAK
cdef object CLIENT = Role.CLIENT
cdef object SERVER = Role.SERVER
cdef dict OUTCOMES = {each: b',"rover.outcome":' + orjson.dumps(each.value) for each in Outcome}
cdef bytes COMPLETED = OUTCOMES[COMPLETE]
# By number: what precedes the sequence number.
cdef list CALLS = [None] * (max(SYSCALL_NAMES) + 1)
for number, name in SYSCALL_NAMES.items():
    CALLS[number] = b'{"name":' + orjson.dumps(name) + b',"sequence":'
cdef long long NO_CALL = Syscall.NONE
cdef frozenset OWN = plain.OWN  # an attribute of such a name would replace what line.py writes before it


cdef class Unusual(Exception):
    pass


cdef int overflowed() except -1:
    raise Unusual


cdef inline long long number_of(object value) except? -1:
    cdef int overflow = 0
    cdef long long result = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow:
        overflowed()
    return result


cdef inline long long bounded(long long time) except? -1:
    if not -FAR < time < FAR:
        overflowed()
    return time


cdef inline long long time_of(object value) except? -1:
    return bounded(number_of(value))


cdef inline Py_ssize_t place_of(uint64_t connection) noexcept:
    """Knuth's multiplicative hash of a connection's number, whatever sources number them by."""
    return <Py_ssize_t>((connection * <uint64_t>0x9E3779B97F4A7C15) >> (64 - PLACE_BITS))


cdef inline bint ordinary(uint64_t eight) noexcept nogil:
    """Whether eight bytes are ASCII, and none to be escaped: one with its highest bit set is looked at alone."""
    return not (
        (
            eight - 0x20 * EACH
            | (eight ^ 0x22 * EACH) - EACH
            | (eight ^ 0x5C * EACH) - EACH
            | (eight ^ 0x7F * EACH) - EACH
            | eight
        )
        & HIGHEST
    )


cdef bytes spoken(protocol, version):
    if not protocol:
        return b""
    written = b',"network.protocol.name":' + orjson.dumps(protocol)
    return written + b',"network.protocol.version":' + orjson.dumps(version) if version else written


cdef int unlike(frozenset said, names) except -1:
    """An attribute that the exchange has, too, replaces that of the process: line.py does that."""
    for key in names:
        if key in said:
            overflowed()
    return 0


@cython.final
cdef class Known:
    """A connection whose second line has been written."""

    cdef Connection connection
    cdef bytes about  # what precedes the attributes of each line
    cdef frozenset said  # the names of what its process has; None where it has nothing


@cython.final
cdef class Lines:
    cdef object _plain
    cdef object _clock
    cdef long long _second  # the last one asked of the clock
    cdef bytes _stamp  # and what precedes its fraction
    cdef bint _syscalls
    cdef list _known  # by place; None where there is none
    cdef uint64_t _seen[PLACES]  # the number of the connection whose line was written last, by place
    cdef Process _process  # the last one that plugins have described
    cdef bytes _described  # what its lines have of it, encoded
    cdef frozenset _said  # the names of that
    cdef dict _keys  # attribute name: encoded, with the comma before and the colon after it
    cdef dict _shapes  # shape: its names, encoded in the same way
    # Of the last log: what the next one's is often the same as.
    cdef Shape _shape
    cdef tuple _names
    cdef object _protocol
    cdef object _version
    cdef bytes _spoken
    cdef char *_out
    cdef Py_ssize_t _size
    cdef Py_ssize_t _room

    def __cinit__(self, bint syscalls):
        self._room = 4096
        self._out = <char *>PyMem_Malloc(self._room)
        if self._out == NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self._out)

    def __init__(self, bint syscalls):
        self._plain = plain.Lines(syscalls)
        self._clock = TimeText("%Y-%m-%dT%H:%M:%S", local=False)
        self._second = -1
        self._syscalls = syscalls
        self._known = [None] * PLACES
        self._keys = {}
        self._shapes = {}

    def prepare(self, log):
        protocol = (<AccessLog>log).protocol if type(log) is AccessLog else log.protocol
        return self.line(log), True if protocol else False

    cpdef bytes line(self, log):
        if type(log) is not AccessLog:
            return self._plain.line(log)
        try:
            self._write(<AccessLog>log)
        except (Unusual, TypeError, UnicodeEncodeError):
            return self._plain.line(log)
        return PyBytes_FromStringAndSize(self._out, self._size)

    cdef int _write(self, AccessLog log) except -1:
        protocol, version, attributes, outcome = log.protocol, log.version, log.attributes, log.outcome
        if outcome is BREAK or type(protocol) is not str or type(version) is not str:
            overflowed()
        if type(log.connection) is not Connection:
            overflowed()
        cdef Connection connection = <Connection>log.connection
        cdef long long epoch = bounded(connection.epoch)
        cdef long long began = epoch + time_of(log.start)
        if began < 0:
            overflowed()
        self._size = 0
        cdef long long second = began // SECOND
        if second != self._second:
            self._stamp = b'{"timestamp":"' + (<str>self._clock.second(began)).encode()
            self._second = second
        self._put(self._stamp)
        self._fraction(began % SECOND)
        self._put(b'Z","duration_ns":')
        self._number(time_of(log.end) - time_of(log.start))
        if protocol is not self._protocol or version is not self._version:
            self._spoken = plain.safe(spoken(protocol, version))
            self._protocol, self._version = protocol, version
        self._put(self._spoken)
        cdef frozenset said = self._introduce(connection)
        cdef PyObject *key
        cdef PyObject *value
        cdef Py_ssize_t place = 0
        if type(attributes) is Attributes:
            if said is not None:
                unlike(said, (<Attributes>attributes).shape.names)
            self._cells(<Attributes>attributes)
        else:
            if type(attributes) is not dict:
                attributes = dict(attributes)
            if said is not None:
                unlike(said, attributes)
            while PyDict_Next(attributes, &place, &key, &value):
                self._put(self._name(<object>key))
                self._value(<object>value)
        self._put(b',"rover.connection":"')
        self._hex(connection.id)
        if protocol:
            # Most are, and a dictionary would call the enumeration's hash function.
            self._put(COMPLETED if outcome is COMPLETE else <bytes>OUTCOMES[outcome])
        if self._syscalls and log.details:
            self._calls(<tuple?>log.details, epoch)
        self._put(b"}\n")
        return 0

    cdef frozenset _introduce(self, Connection connection):
        """What all lines of a connection say of it, ahead of the exchange. Returns the names of what its
        process has. Most connections have one line: what is said is kept when there is a second one."""
        cdef Py_ssize_t place = place_of(connection.id), begin = self._size
        cdef frozenset said
        cdef Known known = self._known[place]
        if known is not None and known.connection is connection:
            self._put(known.about)
            return known.said
        said = self._about(connection)
        if self._seen[place] == connection.id:
            known = Known.__new__(Known)
            known.connection = connection
            known.about = PyBytes_FromStringAndSize(self._out + begin, self._size - begin)
            known.said = said
            self._known[place] = known
        self._seen[place] = connection.id
        return said

    cdef frozenset _about(self, Connection connection):
        process, role = connection.process, connection.role
        local, remote = connection.local, connection.remote
        if (
            connection.tls is not False
            or connection.proxied is not None
            or (role is not CLIENT and role is not SERVER)
            or type(local) is not Address
            or type(remote) is not Address
            or (process is not None and type(process) is not Process)
        ):
            self._put(b",")
            self._put(<bytes>plain.safe(orjson.dumps(plain.about(connection), default=str))[1:-1])
            return frozenset(process.attributes) if process is not None and process.attributes else None
        cdef Address client = <Address>(local if role is CLIENT else remote)
        cdef Address server = <Address>(remote if role is CLIENT else local)
        self._put(b',"network.transport":"tcp","client.address":')
        self._value(client.host)
        self._put(b',"client.port":')
        self._value(client.port)
        self._put(b',"server.address":')
        self._value(server.host)
        self._put(b',"server.port":')
        self._value(server.port)
        self._put(b',"rover.role":"client"' if role is CLIENT else b',"rover.role":"server"')
        if process is None:
            self._put(b',"tls.established":false')
            return None
        if (<Process>process).pid:
            self._put(b',"process.pid":')
            self._value((<Process>process).pid)
            if (<Process>process).name:
                self._put(b',"process.executable.name":')
                self._value((<Process>process).name)
        self._put(b',"tls.established":false')
        return self._describe(<Process>process) if (<Process>process).attributes else None

    cdef frozenset _describe(self, Process process):
        """What plugins say of a process."""
        if process is not self._process:
            described = {key: value for key, value in process.attributes.items() if key not in OWN}
            self._described = <bytes>plain.safe(orjson.dumps(described, default=str))[1:-1]
            self._said = frozenset(process.attributes)
            self._process = process
        if self._described:
            self._put(b",")
            self._put(self._described)
        return self._said

    cdef int _cells(self, Attributes attributes) except -1:
        cdef Shape shape = attributes.shape
        cdef tuple names
        cdef Py_ssize_t at
        if shape is self._shape:
            names = self._names
        else:
            names = self._shapes.get(shape)
            if names is None:
                names = tuple([self._name(name) for name in shape.names])
                if len(self._shapes) < MAX_KEYS:
                    self._shapes[shape] = names
            self._shape, self._names = shape, names
        for at in range(len(names)):
            cell = attributes.cells[at]
            if cell is not None:
                self._put(<bytes>names[at])
                self._value(cell)
        return 0

    cdef bytes _name(self, object key):
        cdef bytes name = self._keys.get(key)
        if name is None:
            if type(key) is not str or key in OWN:
                overflowed()
            name = b"," + plain.safe(orjson.dumps(key)) + b":"
            if len(self._keys) < MAX_KEYS:
                self._keys[key] = name
        return name

    cdef int _value(self, object value) except -1:
        if type(value) is str:
            self._text(value)
        elif type(value) is int:
            self._number(number_of(value))
        elif type(value) is tuple:
            self._texts(<tuple>value)
        elif value is True:
            self._put(b"true")
        elif value is False:
            self._put(b"false")
        else:
            overflowed()
        return 0

    cdef int _texts(self, tuple values) except -1:
        cdef bint first = True
        for value in values:
            self._put(b"[" if first else b",")
            first = False
            if type(value) is not str:
                overflowed()
            self._text(value)
        self._put(b"[]" if first else b"]")
        return 0

    cdef int _calls(self, tuple details, long long epoch) except -1:
        cdef Detail detail
        cdef bytes opening
        cdef bint first = True
        cdef Py_ssize_t at = 0, size = 0  # where the last one's process and descriptor are
        cdef long long pid = 0, fd = 0
        for each in details:
            if type(each) is not Detail:
                overflowed()
            detail = <Detail>each
            if detail.syscall == NO_CALL:
                continue
            self._put(b',"rover.syscalls":[' if first else b",")
            first = False
            opening = <bytes>CALLS[detail.syscall] if 0 <= detail.syscall < len(CALLS) else None
            if opening is None:
                overflowed()
            self._put(opening)
            self._number(detail.sequence)
            self._put(b',"start_unix_ns":')
            self._number(epoch + bounded(detail.start))
            self._put(b',"duration_ns":')
            self._number(bounded(detail.end) - detail.start)
            self._put(b',"size":')
            self._number(detail.size)
            if at and detail.pid == pid and detail.fd == fd:  # most calls of an exchange have the same
                self._reserve(size)
                memcpy(self._out + self._size, self._out + at, size)
                self._size += size
            else:
                pid, fd, at = detail.pid, detail.fd, self._size
                self._put(b',"pid":')
                self._number(pid)
                self._put(b',"fd":')
                self._number(fd)
                size = self._size - at
            if detail.error:
                self._put(b',"errno":')
                self._number(detail.error)
            self._put(b"}")
        if not first:
            self._put(b"]")
        return 0

    # -- the buffer --------------------------------------------------------------------------

    cdef inline int _reserve(self, Py_ssize_t size) except -1:
        return 0 if self._room - self._size >= size else self._grow(size)

    cdef int _grow(self, Py_ssize_t size) except -1:
        cdef Py_ssize_t room = 2 * (self._size + size)
        cdef char *out = <char *>PyMem_Realloc(self._out, room)
        if out == NULL:
            raise MemoryError
        self._out = out
        self._room = room
        return 0

    cdef inline int _copy(self, const char *data, Py_ssize_t size) except -1:
        self._reserve(size)
        memcpy(self._out + self._size, data, size)
        self._size += size
        return 0

    cdef inline int _put(self, bytes data) except -1:
        return self._copy(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef int _number(self, long long value) except -1:
        cdef char digits[40]  # 20 are copied, whatever there are: it is faster
        cdef int at = 20
        cdef unsigned long long left
        cdef unsigned int rest
        self._reserve(21)
        if value < 0:
            self._out[self._size] = b"-"
            self._size += 1
            left = <unsigned long long>0 - <unsigned long long>value
        else:
            left = <unsigned long long>value
        while left >> 32:  # what fits 32 bits is divided in less time
            at -= 2
            memcpy(digits + at, PAIRS + 2 * (left % 100), 2)
            left //= 100
        rest = <unsigned int>left
        while rest >= 100:
            at -= 2
            memcpy(digits + at, PAIRS + 2 * (rest % 100), 2)
            rest //= 100
        if rest >= 10:
            at -= 2
            memcpy(digits + at, PAIRS + 2 * rest, 2)
        else:
            at -= 1
            digits[at] = <char>(48 + rest)
        memcpy(self._out + self._size, digits + at, 20)
        self._size += 20 - at
        return 0

    cdef int _hex(self, unsigned long long value) except -1:
        """Its 16 digits, and the quotation mark after them."""
        cdef int at
        self._reserve(17)
        for at in range(15, -1, -1):
            self._out[self._size + at] = HEX[value & 15]
            value >>= 4
        self._out[self._size + 16] = b'"'
        self._size += 17
        return 0

    cdef int _fraction(self, long long nanoseconds) except -1:
        cdef int at
        self._reserve(10)
        self._out[self._size] = b"."
        for at in range(8, 0, -2):
            memcpy(self._out + self._size + at, PAIRS + 2 * (nanoseconds % 100), 2)
            nanoseconds //= 100
        self._out[self._size + 1] = <char>(48 + nanoseconds)
        self._size += 10
        return 0

    cdef int _text(self, str value) except -1:
        # RFC 8259 section 7; control characters as orjson writes them, and what `plain.safe` escapes.
        cdef Py_ssize_t length, at
        cdef const unsigned char *text = <const unsigned char *>PyUnicode_AsUTF8AndSize(value, &length)
        cdef unsigned char c, low
        cdef int taken
        cdef uint64_t eight
        cdef char *out
        self._reserve(6 * length + 2)
        out = self._out + self._size
        out[0] = b'"'
        out += 1
        at = 0
        if length >= 8:  # most have nothing to escape: their last bytes are looked at twice, not one by one
            while True:
                memcpy(&eight, text + at, 8)
                if not ordinary(eight):
                    out += at
                    break
                memcpy(out + at, &eight, 8)
                if at == length - 8:
                    out[length] = b'"'
                    self._size = out + length + 1 - self._out
                    return 0
                at = min(at + 8, length - 8)
        while at < length:
            if length - at >= 8:
                memcpy(&eight, text + at, 8)
                if ordinary(eight):
                    memcpy(out, &eight, 8)
                    out += 8
                    at += 8
                    continue
            c = text[at]
            at += 1
            if c >= 0x7F:
                # The string is whole UTF-8, with a NUL after it: what a first byte asks for is there.
                taken = 0
                if c == 0x7F:
                    low = c
                elif c == 0xC2 and text[at] < 0xA0:
                    low, taken = text[at], 1
                elif c == 0xD8 and text[at] == 0x9C:
                    low, taken = 0x1C, 1
                elif c == 0xE2 and text[at] == 0x80 and (
                    text[at + 1] == 0x8E or text[at + 1] == 0x8F or 0xA8 <= text[at + 1] <= 0xAE
                ):
                    low, taken = text[at + 1] - 0x80, 2
                elif c == 0xE2 and text[at] == 0x81 and 0xA6 <= text[at + 1] <= 0xA9:
                    low, taken = text[at + 1] - 0x40, 2
                else:
                    out[0] = <char>c
                    out += 1
                    continue
                at += taken
                memcpy(out, b"\\u20" if taken == 2 else b"\\u06" if c == 0xD8 else b"\\u00", 4)
                out[4] = HEX[low >> 4]
                out[5] = HEX[low & 15]
                out += 6
                continue
            if c >= 0x20 and c != 0x22 and c != 0x5C:
                out[0] = <char>c
                out += 1
                continue
            out[0] = b"\\"
            out += 1
            if c == 0x22 or c == 0x5C:
                out[0] = <char>c
            elif c == 0x08:
                out[0] = b"b"
            elif c == 0x09:
                out[0] = b"t"
            elif c == 0x0A:
                out[0] = b"n"
            elif c == 0x0C:
                out[0] = b"f"
            elif c == 0x0D:
                out[0] = b"r"
            else:
                memcpy(out, b"u00", 3)
                out[3] = HEX[c >> 4]
                out[4] = HEX[c & 15]
                out += 4
            out += 1
        out[0] = b'"'
        self._size = out + 1 - self._out
        return 0
