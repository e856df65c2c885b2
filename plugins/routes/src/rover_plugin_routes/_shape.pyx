# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# The compiled form of shape.py, which says what the rules are. Here all of them are looked at in one pass over the
# characters, without an object. What is not of ASCII is left to shape.py.

from cpython.unicode cimport PyUnicode_1BYTE_DATA, PyUnicode_GET_LENGTH, PyUnicode_KIND

from rover_plugin_routes import shape

cdef enum Kind:
    SMALL
    CAPITAL
    DIGIT
    SEPARATOR
    OTHER

cdef Py_ssize_t MAX_WORD = shape.MAX_WORD
cdef int SHORTEST_RANDOM = shape.SHORTEST_RANDOM
cdef int SHORTEST_RANDOM_LETTERS = shape.SHORTEST_RANDOM_LETTERS
cdef int SHORTEST_RANDOM_JOINED = shape.SHORTEST_RANDOM_JOINED
cdef int SHORTEST_HASH = 7
cdef int SHORTEST_NUMBER = 3
cdef int LONG_NUMBER = 5
cdef Py_ssize_t UUID = 36


cdef inline Kind kind_of(unsigned char c) noexcept:
    if c"a" <= c <= c"z":
        return SMALL
    if c"0" <= c <= c"9":
        return DIGIT
    if c"A" <= c <= c"Z":
        return CAPITAL
    if c == c"-" or c == c"_" or c == c"." or c == c"~" or c == c"$" or c == c":":
        return SEPARATOR
    return OTHER


cdef inline bint is_digit(unsigned char c) noexcept:
    return c"0" <= c <= c"9"


cdef inline bint is_base16(unsigned char c) noexcept:
    return c"a" <= c <= c"f" or c"A" <= c <= c"F" or is_digit(c)


cdef struct Text:
    # What `is_random` counts, and of which kind the last character was.
    int size
    int digits
    int turns
    int numbers
    Kind before


cdef inline void begin(Text *text) noexcept:
    text.size = text.digits = text.turns = text.numbers = 0
    text.before = SMALL


cdef inline void add(Text *text, Kind kind) noexcept:
    text.size += 1
    text.digits += kind == DIGIT
    if kind != text.before:
        text.numbers += kind == DIGIT
        text.turns += not (text.before == CAPITAL and kind == SMALL)
        text.before = kind


cdef inline bint is_random(Text *text) noexcept:
    if text.size < (SHORTEST_RANDOM if text.digits else SHORTEST_RANDOM_LETTERS):
        return False
    return text.turns * 10 >= 3 * (text.size - 1) or text.numbers > 2


cdef bint is_version(const unsigned char *c, Py_ssize_t size) noexcept:
    """`v\\d{1,3}(?:[.]\\d{1,3}){0,2}(?:[a-z]+\\d{0,3})?|\\d{1,2}[.]\\d{1,2}`, all of it."""
    cdef const unsigned char *end = c + size
    cdef int groups = 1 if c[0] == c"v" else 0, most = 3 if groups else 2, digits
    c += groups
    while True:
        digits = 0
        while c < end and is_digit(c[0]) and digits < most:
            c += 1
            digits += 1
        if digits == 0:
            return False
        if c == end or c[0] != c"." or groups == 3 or groups < 0:
            break
        groups = groups + 1 if groups else -1
        c += 1
    if groups <= 0:
        return groups < 0 and c == end
    if c < end and kind_of(c[0]) == SMALL:
        while c < end and kind_of(c[0]) == SMALL:
            c += 1
        digits = 0
        while c < end and is_digit(c[0]) and digits < 3:
            c += 1
            digits += 1
    return c == end


cdef bint is_uuid(const unsigned char *text) noexcept:
    cdef Py_ssize_t at
    for at in range(UUID):
        if at == 8 or at == 13 or at == 18 or at == 23:
            if text[at] != c"-":
                return False
        elif not is_base16(text[at]):
            return False
    return True


cpdef bint is_value(str segment) except -1:
    cdef Py_ssize_t size = PyUnicode_GET_LENGTH(segment), at
    if size > MAX_WORD:
        return True
    if size == 0 or PyUnicode_KIND(segment) != 1:
        return shape.is_value(segment)
    cdef const unsigned char *text = <const unsigned char *>PyUnicode_1BYTE_DATA(segment)
    cdef unsigned char c
    cdef Kind kind
    cdef Text part, joined
    cdef int base16 = 0, run = 0  # of the part: characters of base 16; digits that follow each other now
    cdef int parts = 0, numbers = 0  # how many there are; how many of them are digits alone
    cdef bint value = False, small = True, dashes = True
    begin(&part)
    begin(&joined)
    for at in range(size):
        c = text[at]
        kind = kind_of(c)
        if kind == OTHER or (at == 0 and c == c":"):
            return True if c < 0x80 else shape.is_value(segment)
        if kind != SEPARATOR:
            small = small and kind == SMALL
            add(&part, kind)
            add(&joined, kind)
            base16 += is_base16(c)
            run = run + 1 if kind == DIGIT else 0
            value = value or run >= LONG_NUMBER
            if at + 1 < size and kind_of(text[at + 1]) < SEPARATOR:
                continue
            # The part ends.
            parts += 1
            if part.digits == part.size:
                numbers += 1
                value = value or part.size >= SHORTEST_NUMBER
            elif base16 == part.size and part.digits and part.size >= SHORTEST_HASH:
                value = True
            value = value or is_random(&part)
            base16 = run = 0
            begin(&part)
        else:
            dashes = dashes and (c == c"-" or c == c"_")
            # Of small letters, parts are separated by one of these, and it is not on the outside.
            small = small and c != c"~" and c != c"$" and c != c":"
            small = small and 0 < at < size - 1 and kind_of(text[at - 1]) != SEPARATOR
    if parts == 0:
        return not dashes
    if small or ((text[0] == c"v" or is_digit(text[0])) and is_version(text, size)):
        return False
    return (
        value
        or numbers == parts
        or (joined.size >= SHORTEST_RANDOM_JOINED and is_random(&joined))
        or (size == UUID and is_uuid(text))
    )
