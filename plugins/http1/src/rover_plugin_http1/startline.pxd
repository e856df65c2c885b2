# Types for the compiled form of startline.py.


cpdef object split_request_line(object line)
