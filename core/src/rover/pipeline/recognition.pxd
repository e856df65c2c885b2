# Types for the compiled form of recognition.py.

cimport cython

from rover.streams.buffer cimport StreamBuffer
from rover.values.connection cimport Connection
from rover.values.records cimport Address

cdef frozenset NO_PORTS


cdef class Recogniser:
    cdef object _manager
    cdef list _specs
    cdef list _asked  # of each: itself, its `sniff`, its `sniff_own`
    cdef dict _ports
    cdef dict _upgrades
    cdef frozenset _own
    cdef Py_ssize_t _most

    cpdef object pinned(self, object connection)
    cpdef tuple sniff(self, StreamBuffer buffer, Connection connection)
    @cython.locals(local=Address, remote=Address)
    cdef frozenset _own_ports(self, Connection connection)
