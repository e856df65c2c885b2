# cython: language_level=3, boundscheck=False
# The compiled form of traceparent.py: the usual 55 characters without a pattern, all else with it.

from cpython.unicode cimport PyUnicode_AsUTF8AndSize

from rover.http import traceparent as plain


cdef enum:
    FIRST_DASH = 2
    SECOND_DASH = 35
    THIRD_DASH = 52
    LENGTH = 55


def traceparent(str value not None):
    cdef Py_ssize_t size, at
    cdef const char *text
    cdef char c, trace = 0, span = 0
    if len(value) != LENGTH or not value.isascii():
        return plain.traceparent(value)
    text = PyUnicode_AsUTF8AndSize(value, &size)
    if text[0] == b"f":
        return plain.traceparent(value)
    for at in range(LENGTH):
        c = text[at]
        if at == FIRST_DASH or at == SECOND_DASH or at == THIRD_DASH:
            if c != b"-":
                return plain.traceparent(value)
        elif not (48 <= c <= 57 or 97 <= c <= 102):
            return plain.traceparent(value)
        elif FIRST_DASH < at < SECOND_DASH:
            trace |= c
        elif SECOND_DASH < at < THIRD_DASH:
            span |= c
    if trace == 48 or span == 48:  # nothing but zeros
        return None
    return value[FIRST_DASH + 1 : SECOND_DASH], value[SECOND_DASH + 1 : THIRD_DASH]
