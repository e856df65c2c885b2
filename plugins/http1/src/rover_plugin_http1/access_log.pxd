# Types for the compiled form of access_log.py.

cimport cython

from rover.values.access_log cimport new_log
from rover.values.http cimport HttpRequest, HttpResponse

@cython.locals(end="long long")
cpdef access_log(connection, HttpRequest request, HttpResponse response, tuple details)
