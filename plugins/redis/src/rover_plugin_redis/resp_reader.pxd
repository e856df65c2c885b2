# Types for the compiled form of resp_reader.py.

cimport cython

cdef int ATTRIBUTE
cdef int BAD
cdef int BLOB_ERROR
cdef int COLON
cdef int DOLLAR
cdef int DONE
cdef Py_ssize_t KEPT
cdef int MAP
cdef Py_ssize_t MAX_DEPTH
cdef Py_ssize_t MAX_DIGITS
cdef Py_ssize_t MAX_HEADER
cdef Py_ssize_t MAX_LINE
cdef int MINUS
cdef Py_ssize_t ARGUED_SIZE
cdef int NEED
cdef int NEWLINE
cdef int RETURN
cdef int STAR
cdef int ZERO


cdef class HeaderLine:
    cdef long long number

    @cython.locals(line=bytes, size="Py_ssize_t", at="Py_ssize_t", number="long long", digit="int")
    cdef Py_ssize_t read(self, object data, Py_ssize_t position) except -2


cdef class CommandReader:
    cdef HeaderLine _header
    cdef bint _keys
    cdef public int state
    cdef public long long skip
    cdef public long long left
    cdef public long long count
    cdef public bint begun
    cdef public bytes name
    cdef public bytes argument
    cdef public bytes mode

    cpdef reset(self)
    @cython.locals(size="Py_ssize_t", position="Py_ssize_t", long="long long", start="Py_ssize_t", past="long long",
                   index="long long", kept="long long", text=bytes, header=HeaderLine)
    cpdef Py_ssize_t advance(self, object data, Py_ssize_t offset) except -1
    @cython.locals(name=bytes)
    cdef bint _wants(self) except -1


cdef class ReplyReader:
    cdef HeaderLine _header
    cdef public int state
    cdef public long long skip
    cdef public long long left
    cdef public list stack
    cdef public bint begun
    cdef public bytes error
    cdef public long long number

    cpdef reset(self)
    @cython.locals(size="Py_ssize_t", position="Py_ssize_t", end="Py_ssize_t", number="long long", header=HeaderLine,
                   start="Py_ssize_t", past="long long", kept="long long", left="long long", stack=list, kind="int")
    cpdef Py_ssize_t advance(self, object data, Py_ssize_t offset) except -1
