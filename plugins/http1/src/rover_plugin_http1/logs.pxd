# Types for the compiled form of logs.py.

cimport cython

from rover.values.access_log cimport new_log
from rover.http.attributes cimport http_cells
from rover.values.attributes cimport Shape, attributes_of
from rover.values.http cimport HttpRequest, HttpResponse

cdef Shape SHAPE


@cython.locals(end="long long")
cpdef access_log(connection, HttpRequest request, HttpResponse response, tuple details)
