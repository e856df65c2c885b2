# Types for the compiled form of http.py. A change to a class here raises `rover.abi.ABI`.

cimport cython

from rover.values.value cimport Value


cdef class Headers:
    cdef public tuple _fields

    cpdef get(self, name)


cdef class HttpRequest(Value):
    cdef readonly object method
    cdef readonly object target
    cdef readonly object version
    cdef readonly object headers
    cdef readonly long long start
    cdef readonly long long end
    cdef readonly long long header_size
    cdef readonly object body_size
    cdef readonly object authority
    cdef readonly object scheme


cdef class HttpResponse(Value):
    cdef readonly long long status
    cdef readonly object version
    cdef readonly object headers
    cdef readonly long long start
    cdef readonly long long end
    cdef readonly long long header_size
    cdef readonly object body_size
    cdef readonly object trailers


cdef class HttpExchange(Value):
    cdef readonly object owner
    cdef readonly object request
    cdef readonly object response
    cdef readonly object outcome
    cdef readonly object end
    cdef readonly object assumed

    cpdef tuple arguments(self, object connection, tuple details)


cdef class HttpStream(Value):
    cdef readonly object owner
    cdef readonly object request
    cdef readonly object response
    cdef readonly object outcome
    cdef readonly object error_code
    cdef readonly object end

    cpdef tuple arguments(self, object connection, tuple details)


@cython.locals(made=HttpRequest)
cpdef HttpRequest new_request(object method, object target, object version, object headers, long
    long start, long long end, long long header_size, object body_size, object authority, object
    scheme)

@cython.locals(made=HttpResponse)
cpdef HttpResponse new_response(long long status, object version, object headers, long long start,
    long long end, long long header_size, object body_size, object trailers)

@cython.locals(made=HttpExchange)
cpdef HttpExchange new_exchange(object owner, object request, object response, object outcome,
    object end, object assumed)

@cython.locals(made=HttpStream)
cpdef HttpStream new_stream(object owner, object request, object response, object outcome, object
    error_code, object end)
