# Types for the compiled form of router.py.

cimport cython


cdef class Service:
    cdef readonly tuple patterns
    cdef readonly object learned
    cdef public object changes
    cdef readonly dict calls
    cdef readonly dict known


cdef class Router:
    cdef object _patterns
    cdef object _limits
    cdef Py_ssize_t _most_services
    cdef Py_ssize_t _most_levels
    cdef dict _services
    cdef Py_ssize_t _known
    cdef readonly Py_ssize_t levels
    cdef readonly bint is_idle

    @cython.locals(service=Service)
    cpdef tuple find(self, tuple key, str path, object status, bint call)
    cdef tuple _find(self, Service service, str path, object status, bint call)
    @cython.locals(service=Service)
    cdef Service _latest(self, tuple key)
    @cython.locals(forgotten=Service)
    cdef _forget(self)
    @cython.locals(each=Service)
    cdef _keep(self, Service service, str path, tuple route)
