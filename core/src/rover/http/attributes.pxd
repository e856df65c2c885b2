# Types for the compiled form of attributes.py.

cimport cython

from rover.http.values cimport Headers


cpdef tuple split_target(target)
@cython.locals(headers=Headers)
cpdef dict http_attributes(request, response)
