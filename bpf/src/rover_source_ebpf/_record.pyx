# cython: language_level=3, boundscheck=False, cdivision=True
# The compiled form of record.Decoder: calls that move data, which are almost all, are read in
# place; the rest is left to record.py.

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.string cimport memcpy

from rover.records import Detail
from rover_source_ebpf import record

cdef type DETAIL = Detail
cdef object new = tuple.__new__
cdef unsigned int DATA = record.KIND_DATA


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


cdef class Decoder:
    cdef object _plain

    def __init__(self, role_of):
        if sizeof(Header) != record.HEADER.size:
            raise ImportError("another layout")
        self._plain = record.Decoder(role_of)

    @property
    def malformed(self):
        return self._plain.malformed

    def deliver_all(self, handler, memory, list records):
        cdef Py_buffer view
        cdef const char *start
        cdef Py_ssize_t offset, length, room
        cdef Header header
        plain = self._plain.deliver
        data = handler.data
        PyObject_GetBuffer(memory, &view, PyBUF_SIMPLE)
        try:
            for offset, length in records:
                if length >= sizeof(Header) and 0 <= offset <= view.len - length:
                    start = <const char *>view.buf + offset
                    memcpy(&header, start, sizeof(Header))
                    room = length - sizeof(Header)
                    if header.kind == DATA and regular(&header, room):
                        data(
                            new(DETAIL, (
                                header.connection, header.sequence, header.start, header.end, header.position,
                                header.size, header.pid, header.fd, header.syscall, header.direction,
                                header.error,
                            )),
                            PyBytes_FromStringAndSize(start + sizeof(Header), header.captured),
                        )
                        continue
                plain(handler, memory, offset, length)
        finally:
            PyBuffer_Release(&view)


cdef inline bint regular(const Header *header, Py_ssize_t room) noexcept nogil:
    cdef unsigned long long large = header.sequence | header.start | header.end | header.position
    return (
        not large >> 62 and header.direction <= 1
        and header.captured <= room and header.captured <= header.size
    )
