# cython: language_level=3
# The compiled form of what guard.py checks for each exchange: it passes what is ordinary,
# and asks guard.py about all else.

from cpython.dict cimport PyDict_Next
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.object cimport Py_TYPE, PyObject, PyTypeObject

from rover.values.access_log cimport AccessLog
from rover.values.attributes cimport Attributes
from rover.values.http cimport HttpExchange, HttpRequest, HttpResponse, HttpStream

from rover.plugins.guard import check_result as thorough_result
from rover.plugins.guard import checked_change as thorough_change
from rover.plugins.guard import checked_log as thorough_log
from rover.values.exchange import Outcome
from rover.values.records import MAX_NUMBER

cdef object OUTCOME = Outcome
cdef PyTypeObject *TEXT = <PyTypeObject *>str
cdef PyTypeObject *NUMBER = <PyTypeObject *>int
cdef PyTypeObject *FLAG = <PyTypeObject *>bool
cdef PyTypeObject *TEXTS = <PyTypeObject *>tuple
cdef long long MAX = MAX_NUMBER


cdef inline bint is_bounded(object number):
    cdef int overflow = 0
    cdef long long value = PyLong_AsLongLongAndOverflow(number, &overflow)
    return overflow == 0 and -MAX <= value <= MAX


cdef inline bint is_plain(object value, PyTypeObject *kind):
    if kind == TEXT or kind == FLAG:
        return True
    if kind == NUMBER:
        return is_bounded(value)
    if kind == TEXTS:
        for text in <tuple>value:
            if Py_TYPE(text) != TEXT:
                return False
        return True
    return False


cpdef check_result(result):
    cdef HttpExchange exchange
    cdef HttpStream stream
    if type(result) is HttpExchange:
        exchange = <HttpExchange>result
        if (
            type(exchange.owner) is int
            and type(exchange.request) is HttpRequest
            and (exchange.response is None or type(exchange.response) is HttpResponse)
            and type(exchange.outcome) is OUTCOME
            and type(exchange.end) is int
            and type(exchange.assumed) is bool
        ):
            return
    elif type(result) is HttpStream:
        stream = <HttpStream>result
        if (
            type(stream.owner) is int
            and type(stream.request) is HttpRequest
            and (stream.response is None or type(stream.response) is HttpResponse)
            and type(stream.outcome) is OUTCOME
            and type(stream.end) is int
        ):
            return
    thorough_result(result)


cpdef checked_log(found):
    cdef Py_ssize_t position = 0
    cdef PyObject *name
    cdef PyObject *value
    cdef AccessLog log
    if type(found) is not AccessLog:
        return thorough_log(found)
    log = <AccessLog>found
    attributes = log.attributes
    if not (
        type(log.start) is int
        and type(log.end) is int
        and is_bounded(log.start)
        and is_bounded(log.end)
        and type(log.protocol) is str
        and log.protocol
        and type(log.version) is str
    ):
        return thorough_log(log)
    if type(attributes) is Attributes:
        for cell in (<Attributes>attributes).cells:
            if cell is not None and not is_plain(cell, Py_TYPE(cell)):
                return thorough_log(log)
        return log
    if type(attributes) is not dict:
        return thorough_log(log)
    while PyDict_Next(attributes, &position, &name, &value):
        if Py_TYPE(<object>name) != TEXT or not is_plain(<object>value, Py_TYPE(<object>value)):
            return thorough_log(log)
    return log


cpdef checked_change(found, AccessLog own):
    cdef AccessLog log
    if type(found) is AccessLog:
        log = <AccessLog>found
        if log.details is own.details and log.outcome is own.outcome and log.connection is own.connection:
            if own.protocol:
                return checked_log(log)
    return thorough_change(found, own)
