# Types for the compiled form of grpc.py.

cimport cython


@cython.locals(content_type=str, status=str, method=str, attributes=dict)
cpdef dict grpc_attributes(request, response)
