# What other modules may call of _ordinary.pyx.

from rover.streams.buffer cimport StreamBuffer
from rover_plugin_http1.head cimport RequestHead, ResponseHead


cpdef bint opens_ordinary_request(data, Py_ssize_t limit) except -1
cpdef RequestHead ordinary_request(data, Py_ssize_t start, Py_ssize_t limit)
cpdef ResponseHead ordinary_response(data, Py_ssize_t start, Py_ssize_t limit)
cpdef RequestHead next_request(StreamBuffer buffer, Py_ssize_t limit)
cpdef ResponseHead next_response(StreamBuffer buffer, Py_ssize_t limit)
