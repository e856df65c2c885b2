# Types for the compiled form of access_log.py.

cimport cython

from rover.values.access_log cimport new_log
from rover.values.http cimport HttpRequest, HttpResponse, HttpStream

@cython.locals(request=HttpRequest, response=HttpResponse, end="long long")
cpdef access_log(connection, HttpStream stream, tuple details)
