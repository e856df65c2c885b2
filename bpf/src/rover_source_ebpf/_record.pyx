# cython: language_level=3, boundscheck=False, cdivision=True
# The compiled form of record.RecordDecoder: calls that move data, which are almost all, are read in
# place; the rest is left to record.py.

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.string cimport memcmp, memcpy

from rover.pipeline.table cimport Pipeline
from rover.values.records cimport Address, Closed, Detail, Opened, Plaintext
from rover_source_ebpf import record

cdef extern from *:
    void prefetch "__builtin_prefetch"(const void *address) nogil

cdef Py_ssize_t CACHE_LINE = 64
cdef Py_ssize_t LINES = 6  # the account of a call, and most heads

cdef unsigned int DATA = record.KIND_DATA
cdef unsigned int PLAINTEXT = record.KIND_PLAINTEXT
cdef unsigned int CLOSED = record.KIND_CLOSED
cdef unsigned int OPENED = record.KIND_OPENED
cdef unsigned int WITH_DETAIL = record.FLAG_DETAIL
cdef unsigned int LATE = record.FLAG_LATE
cdef unsigned int RESET = record.FLAG_RESET
cdef unsigned int WAITING = record.FLAG_WAITING
cdef tuple ROLES = record.ROLES
cdef bytes V4_MAPPED = record.V4_MAPPED
cdef const char *MAPPED = V4_MAPPED


cdef packed struct Header:  # struct header of c/wire.h
    unsigned short kind
    unsigned short flags
    unsigned int captured
    unsigned long long connection
    unsigned long long sequence
    unsigned long long start
    unsigned long long end
    unsigned long long position
    unsigned int size
    unsigned int pid
    int fd
    unsigned short syscall
    unsigned char direction
    unsigned char error


cdef packed struct Ends:  # the rest of struct opened_record
    unsigned long long time
    unsigned char local[16]
    unsigned char remote[16]
    unsigned short local_port
    unsigned short remote_port
    unsigned char role
    unsigned char unused[3]


cdef inline void fetch(const char *start) noexcept nogil:
    """Has the processor fetch the front of the record that is next: another one's cache has it, or none, and
    no processor foresees where it begins. An address that is none does no harm."""
    cdef Py_ssize_t line
    for line in range(LINES):
        prefetch(start + line * CACHE_LINE)


cdef Detail detail_of(const Header *header):
    cdef Detail detail = Detail.__new__(Detail)
    detail.connection = header.connection
    detail.sequence = header.sequence
    detail.start = header.start
    detail.end = header.end
    detail.position = header.position
    detail.size = header.size
    detail.pid = header.pid
    detail.fd = header.fd
    detail.syscall = header.syscall
    detail.direction = header.direction
    detail.error = header.error
    return detail


cdef class RecordDecoder:
    cdef object _plain
    cdef object _role_of

    def __init__(self, role_of, ring=0, rings=1):
        if sizeof(Header) != record.HEADER.size or sizeof(Ends) != record.ENDS.size:
            raise ImportError("another layout")
        self._plain = record.RecordDecoder(role_of, ring, rings)
        self._role_of = role_of

    @property
    def malformed(self):
        return self._plain.malformed

    @property
    def unplaced(self):
        return self._plain.unplaced

    def finish(self, handler):
        self._plain.finish(handler)

    def deliver_all(self, handler, memory, list records):
        cdef Py_buffer view
        cdef const char *start
        cdef Py_ssize_t offset, length, room, at, count = len(records)
        cdef Header header
        cdef Ends ends
        cdef unsigned long long unseen, ciphertext
        cdef Pipeline pipeline = <Pipeline>handler if type(handler) is Pipeline else None
        plain = self._plain.deliver
        data = handler.data
        PyObject_GetBuffer(memory, &view, PyBUF_SIMPLE)
        try:
            for at in range(count):
                offset, length = <tuple?>records[at]
                if at + 1 < count:
                    fetch(<const char *>view.buf + <Py_ssize_t>(<tuple?>records[at + 1])[0])
                if length >= <Py_ssize_t>sizeof(Header) and 0 <= offset <= view.len - length:
                    start = <const char *>view.buf + offset
                    memcpy(&header, start, sizeof(Header))
                    room = length - sizeof(Header)
                    if header.kind == DATA and regular(&header, room):
                        if pipeline is not None:
                            pipeline.lend(detail_of(&header), start + sizeof(Header), header.captured)
                            continue
                        data(
                            detail_of(&header),
                            PyBytes_FromStringAndSize(start + sizeof(Header), header.captured),
                        )
                        continue
                    if (header.kind == PLAINTEXT and not header.flags & WAITING
                            and room >= <Py_ssize_t>sizeof(ciphertext)
                            and regular(&header, room - sizeof(ciphertext))):
                        memcpy(&ciphertext, start + sizeof(Header), sizeof(ciphertext))
                        start += sizeof(Header) + sizeof(ciphertext)
                        if pipeline is not None:
                            pipeline.lend_plaintext(
                                plaintext_of(&header, ciphertext), start, header.captured
                            )
                            continue
                        handler.plaintext(
                            plaintext_of(&header, ciphertext), PyBytes_FromStringAndSize(start, header.captured)
                        )
                        continue
                    if header.kind == CLOSED and regular(&header, room):
                        unseen = 0
                        if room >= <Py_ssize_t>sizeof(unseen):
                            memcpy(&unseen, start + sizeof(Header), sizeof(unseen))
                        if not unseen >> 62:
                            call = detail_of(&header) if header.flags & WITH_DETAIL else None
                            reset = (header.flags & RESET) != 0
                            handler.closed(closed_of(&header, reset, call, unseen))
                            continue
                    if header.kind == OPENED and room >= <Py_ssize_t>sizeof(Ends) and regular(&header, room):
                        memcpy(&ends, start + sizeof(Header), sizeof(Ends))
                        if ends.role <= 2 and not ends.time >> 62:
                            handler.opened(self._opened(&header, &ends))
                            continue
                plain(handler, memory, offset, length)
        finally:
            PyBuffer_Release(&view)

    cdef Opened _opened(self, const Header *header, const Ends *ends):
        cdef Opened opened = Opened.__new__(Opened)
        opened.connection = header.connection
        opened.time = ends.time
        opened.local = address_of(ends.local, ends.local_port)
        opened.remote = address_of(ends.remote, ends.remote_port)
        opened.role = ROLES[ends.role] or self._role_of(header.pid, ends.local_port)
        opened.pid = header.pid
        opened.late = (header.flags & LATE) != 0
        opened.detail = detail_of(header) if header.flags & WITH_DETAIL else None
        return opened


cdef Plaintext plaintext_of(const Header *header, unsigned long long ciphertext):
    cdef Plaintext plaintext = Plaintext.__new__(Plaintext)
    plaintext.connection = header.connection
    plaintext.sequence = header.sequence
    plaintext.start = header.start
    plaintext.end = header.end
    plaintext.position = header.position
    plaintext.size = header.size
    plaintext.ciphertext = -1 if ciphertext >> 62 else <long long>ciphertext
    plaintext.ciphertext_start = -1  # where the call before ends
    plaintext.pid = header.pid
    plaintext.direction = header.direction
    return plaintext


cdef Closed closed_of(const Header *header, bint reset, object call, unsigned long long unseen):
    cdef Closed closed = Closed.__new__(Closed)
    closed.connection = header.connection
    closed.time = header.end
    closed.reset = reset
    closed.detail = call
    closed.unseen = unseen
    return closed


cdef Address address_of(const unsigned char *raw, unsigned short port):
    cdef Address address = Address.__new__(Address)
    address.host = host(raw)
    address.port = port
    return address


cdef object host(const unsigned char *raw):
    cdef char text[16]  # of "255.255.255.255" and one more dot
    cdef int size = 0
    cdef int index
    if memcmp(raw, MAPPED, 12) == 0:
        for index in range(12, 16):
            size += write_decimal(raw[index], text + size)
            text[size] = b"."
            size += 1
        return PyUnicode_DecodeASCII(text, size - 1, NULL)
    return record.host(raw[:16])


cdef inline int write_decimal(unsigned char value, char *text) noexcept nogil:
    # sprintf takes ten times as long
    cdef int size = 0
    if value >= 100:
        text[size] = 48 + value // 100
        size += 1
    if value >= 10:
        text[size] = 48 + value // 10 % 10
        size += 1
    text[size] = 48 + value % 10
    return size + 1


cdef inline bint regular(const Header *header, Py_ssize_t room) noexcept nogil:
    cdef unsigned long long large = header.sequence | header.start | header.end | header.position
    return (
        not large >> 62 and header.direction <= 1
        and header.captured <= room and header.captured <= header.size
    )
