# Types for the compiled form of framing.py. Lengths go up to MAX_LENGTH, the largest of 64 bits.

cpdef long long request_content(long long declaration) except? -1
cpdef long long response_content(long long declaration, int status, method) except? -1
