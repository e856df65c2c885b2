# Types for the compiled form of sniff.py.

cimport cython

from rover_plugin_http1._ordinary cimport opens_ordinary_request

@cython.locals(opening=bytes, line=bytes)
cpdef object sniff(object data)
