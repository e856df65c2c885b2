# cython: language_level=3
# The compiled form of what guard.py checks for each exchange: it passes what is ordinary,
# and asks guard.py about all else.

from cpython.dict cimport PyDict_Next
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.object cimport Py_TYPE, PyObject, PyTypeObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE

from rover.values.access_log import AccessLog
from rover.values.exchange import Outcome
from rover.plugins.guard import check_result as thorough_result
from rover.plugins.guard import checked_log as thorough_log
from rover.values.http import HttpExchange, HttpRequest, HttpResponse, HttpStream
from rover.values.records import MAX_NUMBER

cdef type EXCHANGE = HttpExchange
cdef type STREAM = HttpStream
cdef type REQUEST = HttpRequest
cdef type RESPONSE = HttpResponse
cdef object OUTCOME = Outcome
cdef type LOG = AccessLog
cdef PyTypeObject *TEXT = <PyTypeObject *>str
cdef PyTypeObject *NUMBER = <PyTypeObject *>int
cdef long long MAX = MAX_NUMBER
cdef PyTypeObject *FLAG = <PyTypeObject *>bool
cdef Py_ssize_t EXCHANGE_SIZE = len(HttpExchange._fields)
cdef Py_ssize_t STREAM_SIZE = len(HttpStream._fields)
cdef Py_ssize_t LOG_SIZE = len(AccessLog._fields)
cdef Py_ssize_t END = HttpExchange._fields.index("end")
cdef Py_ssize_t ASSUMED = HttpExchange._fields.index("assumed")
cdef Py_ssize_t STREAM_END = HttpStream._fields.index("end")
assert HttpExchange._fields[:4] == HttpStream._fields[:4] == ("owner", "request", "response", "outcome")
assert AccessLog._fields[1:6] == ("start", "end", "protocol", "version", "attributes")


cdef inline bint is_a(object values, Py_ssize_t index, object kind):
    return type(<object>PyTuple_GET_ITEM(values, index)) is kind


cdef inline bint is_bounded(object number):
    cdef int overflow = 0
    cdef long long value = PyLong_AsLongLongAndOverflow(number, &overflow)
    return overflow == 0 and -MAX <= value <= MAX


cdef inline bint begins_well(object values):
    response = <object>PyTuple_GET_ITEM(values, 2)
    return (
        is_a(values, 0, int)
        and is_a(values, 1, REQUEST)
        and (response is None or type(response) is RESPONSE)
        and is_a(values, 3, OUTCOME)
    )


def check_result(result):
    kind = type(result)
    if kind is EXCHANGE:
        if PyTuple_GET_SIZE(result) == EXCHANGE_SIZE and begins_well(result):
            if is_a(result, END, int) and is_a(result, ASSUMED, bool):
                return
    elif kind is STREAM:
        if PyTuple_GET_SIZE(result) == STREAM_SIZE and begins_well(result) and is_a(result, STREAM_END, int):
            return
    thorough_result(result)


def checked_log(log):
    cdef Py_ssize_t position = 0
    cdef PyObject *name
    cdef PyObject *value
    cdef PyTypeObject *kind
    if type(log) is not LOG or PyTuple_GET_SIZE(log) != LOG_SIZE:
        return thorough_log(log)
    attributes = <object>PyTuple_GET_ITEM(log, 5)
    if not (
        is_a(log, 1, int)
        and is_a(log, 2, int)
        and is_bounded(<object>PyTuple_GET_ITEM(log, 1))
        and is_bounded(<object>PyTuple_GET_ITEM(log, 2))
        and is_a(log, 3, str)
        and <object>PyTuple_GET_ITEM(log, 3)
        and is_a(log, 4, str)
        and type(attributes) is dict
    ):
        return thorough_log(log)
    while PyDict_Next(attributes, &position, &name, &value):
        kind = Py_TYPE(<object>value)
        if Py_TYPE(<object>name) != TEXT:
            return thorough_log(log)
        if kind != TEXT and kind != FLAG and (kind != NUMBER or not is_bounded(<object>value)):
            return thorough_log(log)
    return log
