# Types for the compiled form of grpc.py.

cimport cython

from rover.values.http cimport Headers, HttpRequest, HttpResponse

cdef tuple _NONE
cdef dict _CODES


@cython.locals(headers=Headers, content_type=str, target=str, status=str)
cpdef tuple grpc_cells(HttpRequest request, HttpResponse response)
