# cython: language_level=3, boundscheck=False
# The compiled form of traceparent.py: the usual 55 characters without a pattern, all else with it.

from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeASCII

from rover.http import traceparent as plain


# Of each byte: itself where it is a digit of these ids, 48 to 57 or 97 to 102, else 0.
cdef unsigned char DIGITS[256]


cdef int fill() except -1:
    cdef int c
    for c in range(256):
        DIGITS[c] = c if c in b"0123456789abcdef" else 0
    return 0


fill()


cdef enum:
    FIRST_DASH = 2
    SECOND_DASH = 35
    THIRD_DASH = 52
    LENGTH = 55


cdef inline unsigned char all_of(const unsigned char *text, Py_ssize_t size) noexcept nogil:
    """All bits of so many digits; 0 when one is none."""
    cdef unsigned char bits = 0, digit
    cdef Py_ssize_t at
    for at in range(size):
        digit = DIGITS[text[at]]
        if digit == 0:
            return 0
        bits |= digit
    return bits


cpdef tuple traceparent(str value):
    cdef Py_ssize_t size
    cdef const unsigned char *text
    cdef unsigned char trace, span
    try:
        text = <const unsigned char *>PyUnicode_AsUTF8AndSize(value, &size)
    except UnicodeEncodeError:
        return plain.traceparent(value)
    # Of so many bytes, which are then all ASCII.
    if (
        size != LENGTH
        or text[0] == b"f"
        or text[FIRST_DASH] != b"-"
        or text[SECOND_DASH] != b"-"
        or text[THIRD_DASH] != b"-"
        or not all_of(text, FIRST_DASH)
        or not all_of(text + THIRD_DASH + 1, 2)
    ):
        return plain.traceparent(value)
    trace = all_of(text + FIRST_DASH + 1, SECOND_DASH - FIRST_DASH - 1)
    span = all_of(text + SECOND_DASH + 1, THIRD_DASH - SECOND_DASH - 1)
    if not trace or not span:
        return plain.traceparent(value)
    if trace == 48 or span == 48:  # nothing but zeros
        return None
    return (
        PyUnicode_DecodeASCII(<const char *>text + FIRST_DASH + 1, SECOND_DASH - FIRST_DASH - 1, NULL),
        PyUnicode_DecodeASCII(<const char *>text + SECOND_DASH + 1, THIRD_DASH - SECOND_DASH - 1, NULL),
    )
