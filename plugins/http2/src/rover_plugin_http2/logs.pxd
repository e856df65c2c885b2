# Types for the compiled form of logs.py.

cimport cython

from rover.values.access_log cimport new_log
from rover.http.attributes cimport http_cells
from rover.values.attributes cimport Attributes, Shape
from rover.values.http cimport HttpRequest, HttpResponse, HttpStream

from rover_plugin_http2.grpc cimport grpc_cells

cdef Shape SHAPE
cdef tuple _NO_ERROR


@cython.locals(cells=tuple, request=HttpRequest, response=HttpResponse, end="long long")
cpdef access_log(connection, HttpStream stream, tuple details)
