# Types for the compiled form of router.py.

cimport cython

from rover_plugin_routes.learning cimport Learned
from rover_plugin_routes.patterns cimport Patterns
from rover_plugin_routes.segments cimport split

cdef object NOT_FOUND


cdef class Service:
    cdef readonly tuple key
    cdef readonly tuple patterns
    cdef readonly Learned learned
    cdef readonly dict calls
    cdef Py_ssize_t levels
    cdef long long asked


cdef class Router:
    cdef object _patterns
    cdef object _limits
    cdef Py_ssize_t _most_services
    cdef Py_ssize_t _most_levels
    cdef dict _services
    cdef long long _asked
    cdef readonly Py_ssize_t levels
    cdef readonly bint is_idle

    @cython.locals(service=Service, teaches=bint, levels=Py_ssize_t)
    cpdef tuple find(self, tuple key, str path, object status, bint call)
    @cython.locals(patterns=Patterns)
    cdef str _pattern(self, tuple several, str path)
    @cython.locals(service=Service)
    cdef Service _add(self, tuple key)
    @cython.locals(services=dict, oldest=Service, each=Service)
    cdef _count(self, Service service, Py_ssize_t levels)
