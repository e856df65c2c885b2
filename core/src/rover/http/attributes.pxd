# Types for the compiled form of attributes.py.

cimport cython

from rover.http.trace cimport trace_fields
from rover.values.http cimport Headers, HttpRequest, HttpResponse


@cython.locals(rest=str, slash=Py_ssize_t, question=Py_ssize_t)
cpdef tuple split_target(str target)
cpdef dict http_attributes(HttpRequest request, HttpResponse response)
@cython.locals(headers=Headers, trace=tuple, path=str, query=str, host=str, agent=str,
               segment_id=str)
cpdef tuple http_cells(HttpRequest request, HttpResponse response)
