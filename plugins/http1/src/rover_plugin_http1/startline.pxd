# Types for the compiled form of startline.py.

cimport cython


@cython.locals(at="Py_ssize_t", newline="Py_ssize_t", line="Py_ssize_t", last_return="Py_ssize_t",
               last="Py_ssize_t", here="Py_ssize_t",
               found="Py_ssize_t")
cpdef Py_ssize_t start_ahead(object data, Py_ssize_t start, Py_ssize_t end, bint requests, bint responses,
                             bint ragged=*) except -2
@cython.locals(stop="Py_ssize_t", space="Py_ssize_t")
cdef Py_ssize_t _request_ahead(object data, Py_ssize_t line, Py_ssize_t version, bint ragged) except -2
cpdef object split_request_line(object line)
