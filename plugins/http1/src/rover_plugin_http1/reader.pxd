# Types for the compiled form of reader.py.

cimport cython


cdef class Reader:
    cdef public object buffer
    cdef public object kind
    cdef public object state
    cdef public object request
    cdef public object response
    cdef public bint fresh
    cdef public long long start
    cdef public object owner
    cdef public object content
    cdef public bint known
    cdef public object trailers
    cdef public bint optional
    cdef public object skipped
    cdef public long long moved
    cdef public object lost
    cdef public object records
    cdef public bint boundary
    cdef Py_ssize_t _size
    cdef object _left
    cdef Py_ssize_t _examined
    cdef bint _line_seen
    cdef bint _missing
    cdef bint _ragged
    cdef bint _searched
    cdef object _scanned
    cdef bint _surplus
    cdef Py_ssize_t _max_head

    cpdef object read(self)
    cpdef object accept(self, object owner, object content, bint optional=*)
    cpdef forget(self)
    cdef _found(self, Py_ssize_t size)
    @cython.locals(offset="Py_ssize_t", size="Py_ssize_t", examined="Py_ssize_t",
                   end="Py_ssize_t", limit="Py_ssize_t", requests="bint")
    cdef object _read_head(self)
    cdef bint _judge(self, bytes head, bint requests) except -1
    cdef object _read_surplus(self)
    cdef object _read_length(self)
    cdef object _read_chunks(self)
    cdef object _read_chunk(self)
    cdef object _read_chunk_end(self)
    cdef object _read_trailers(self)
    cdef object _read_to_close(self)
    cdef object _search(self)
    cdef object _end(self)
    cdef object _starve(self)
