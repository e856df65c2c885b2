# Types for the compiled form of counting.py.

cimport cython

from rover.values.access_log cimport AccessLog
from rover.values.connection cimport Connection
from rover_plugin_top.facts cimport Facts

cdef Py_ssize_t MAX_CELLS
cdef Py_ssize_t MAX_CONNECTIONS
cdef Py_ssize_t MAX_KNOWN
cdef Py_ssize_t KEPT
cdef Py_ssize_t KEPT_OF_CONNECTION
cdef long long KEPT_MEMORY
cdef long long KEPT_TEXT
cdef Py_ssize_t KEPT_CALLS
cdef long long LOG_MEMORY
cdef long long DETAIL_MEMORY
cdef int MAGNITUDE
cdef long long EXACT
cdef object BREAK


@cython.locals(shift="int")
cpdef long long bucket_of(long long duration)


@cython.locals(shift="int", least="long long", one="long long")
cpdef long long middle(long long bucket)


cdef class Tally:
    cdef readonly tuple names
    cdef public long long count
    cdef public long long errors
    cdef public long long breaks
    cdef public long long bytes
    cdef readonly dict histogram
    cdef readonly list kept
    cdef list weights
    cdef Py_ssize_t room
    cdef Py_ssize_t at
    cdef readonly long long weight
    cdef public long long earlier
    cdef public long long recent

    @cython.locals(bucket="long long", histogram=dict)
    cpdef count_one(self, AccessLog log, Facts facts)
    @cython.locals(at="Py_ssize_t", more="long long")
    cdef long long keep(self, AccessLog log, long long weight) except? -1
    cpdef long long shed(self, bint all_) except? -1


cdef class Ends:
    cdef long long opened
    cdef long long epoch
    cdef object by
    cdef str process
    cdef str peer
    cdef str server
    cdef Tally tally


cdef class Counting:
    cdef readonly dict cells
    cdef readonly dict connections
    cdef readonly long long first
    cdef readonly long long last
    cdef dict _known
    cdef Facts _facts
    cdef long long _weight

    @cython.locals(
        connection=Connection, ends=Ends, facts=Facts, key=tuple, cell=Tally, tally=Tally, epoch="long long",
        start="long long", end="long long", text="long long", calls="Py_ssize_t", weight="long long")
    cpdef add(self, AccessLog log)
    cpdef _shed(self)
    cpdef Ends _know(self, Connection connection)
    cpdef Tally _cell(self, tuple key)
