# cython: language_level=3
# The compiled form of tuples.py.

from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_SET_ITEM

cdef extern from *:
    """
    /* An instance of a class derived from tuple, without fields of its own, not filled yet: as
       tuple_subtype_new in Objects/tupleobject.c makes it. NULL and an exception for another class. */
    static PyObject *empty(PyObject *kind, Py_ssize_t size) {
        PyTypeObject *type = (PyTypeObject *)kind;
        if (!PyType_IsSubtype(type, &PyTuple_Type) || type->tp_basicsize != PyTuple_Type.tp_basicsize) {
            PyErr_SetString(PyExc_TypeError, "not a class of named tuples");
            return NULL;
        }
        return type->tp_alloc(type, size);
    }
    """
    object empty(object kind, Py_ssize_t size)


def new(type kind not None, tuple fields not None):
    cdef Py_ssize_t at, size = PyTuple_GET_SIZE(fields)
    made = empty(kind, size)
    for at in range(size):
        value = <object>PyTuple_GET_ITEM(fields, at)
        Py_INCREF(value)
        PyTuple_SET_ITEM(made, at, value)
    return made
