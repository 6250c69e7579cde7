/* SPDX-License-Identifier: MIT */
#include "extension.h"

#include <string.h>

/* The text of a bytes object, which must outlive it; NULL for None. Return: 0, or -1 with an
 * exception. */
int optional_bytes(PyObject *bytes, const char **ret_text)
{
    *ret_text = bytes == Py_None ? NULL : PyBytes_AsString(bytes);
    return *ret_text == NULL && bytes != Py_None ? -1 : 0;
}

/* A str, or None for NULL. */
PyObject *text_or_none(const char *text)
{
    return text ? PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace")
                : Py_BuildValue("");
}

/* An image's name, which may hold a path of the host: any bytes. */
PyObject *path_text(const char *text)
{
    return PyUnicode_DecodeFSDefault(text);
}

/* dict[key] = value. Takes over the value, and takes NULL for one whose making failed. */
int set_item(PyObject *dict, const char *key, PyObject *value)
{
    int status = value ? PyDict_SetItemString(dict, key, value) : -1;

    Py_XDECREF(value);
    return status;
}

/* list.append(item). Takes over the item, and takes NULL for one whose making failed. */
int append_item(PyObject *list, PyObject *item)
{
    int status = item ? PyList_Append(list, item) : -1;

    Py_XDECREF(item);
    return status;
}

/* A NULL-terminated array of the strings of a tuple of bytes, which must outlive it. PyMem_Free()
 * it. */
const char **strings_from_tuple(PyObject *tuple)
{
    Py_ssize_t count = PyTuple_Size(tuple);
    const char **strings;

    if (count < 0)
        return NULL;
    strings = PyMem_Malloc(((size_t)count + 1) * sizeof *strings);
    if (strings == NULL)
        return (const char **)PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < count; i++) {
        char *text;

        if (PyBytes_AsStringAndSize(PyTuple_GetItem(tuple, i), &text, NULL) < 0) {
            PyMem_Free(strings);
            return NULL;
        }
        strings[i] = text;
    }
    strings[count] = NULL;
    return strings;
}
