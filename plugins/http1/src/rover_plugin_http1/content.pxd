# Types for the compiled form of content.py.

cimport cython

from rover_plugin_http1.search cimport Search


cdef class ContentReader(Search):
    cdef public object owner
    cdef public long long content
    cdef public bint known
    cdef public object trailers
    cdef public bint optional
    cdef long long _left

    cdef _reset(self)
    cdef object _read_surplus(self)
    @cython.locals(passed="long long")
    cdef object _read_length(self)
    cdef object _read_chunks(self)
    cdef object _read_chunk(self)
    cdef object _read_chunk_end(self)
    cdef object _read_trailers(self)
    cdef object _read_to_close(self)
    cdef object _end(self)
    cdef object _starve(self)
