# Types for the compiled form of attributes.py.

cimport cython

from rover.values.http cimport HttpRequest, HttpResponse

from rover.values.http cimport Headers


@cython.locals(rest=str, slash=Py_ssize_t, question=Py_ssize_t)
cpdef tuple split_target(str target)
@cython.locals(headers=Headers)
cpdef dict http_attributes(HttpRequest request, HttpResponse response)
