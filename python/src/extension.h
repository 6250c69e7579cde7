/* SPDX-License-Identifier: MIT */
/*
 * flashvm._flashvm: the door between Python and libflashvm. It converts arguments that the package
 * has already checked, releases the GIL, calls the library and converts what comes back. Private to
 * the package; python/flashvm/_flashvm.pyi has the signatures.
 *
 * Limited API of Python 3.8: one binary for that and every later version.
 */
#pragma once

#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x03080000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <sys/types.h>

#include <flashvm/flashvm.h>

/* ---- call.c: errors, and calls into the library that last ------------------------------------- */

/* Raise the exception class of the error's status; frees the error. Return: always NULL. */
PyObject *raise_error(struct flashvm_error *error);

/* What the library's callbacks need to know about the call that they belong to. */
struct call {
    PyThreadState *thread; /* kept while the library works without the GIL */
    struct call *outer;    /* a signal handler may call the library inside a call */
    int wakeup_fd[2]; /* CPython's signal handler writes, the library waits; -1: not this thread */
    int outer_wakeup_fd; /* whose place ours took; -1: nobody's */
    bool raised;         /* a callback left a Python exception in `thread` */
};
#define CALL_INIT                                                                                  \
    {                                                                                              \
        .wakeup_fd = {-1, -1}, .outer_wakeup_fd = -1                                               \
    }

void call_release_gil(struct call *call);
void call_take_gil(struct call *call);

/*
 * Have a signal make a descriptor readable for as long as the call lasts. Return: 0, or -1 with an
 * exception.
 */
int call_watch_signals(struct call *call);

/* Undo it. Keeps an exception that is set. */
void call_unwatch_signals(struct call *call);

/* Callbacks of the library: flashvm_config.progress, .notice and .interrupted. */
void on_progress(void *progress_data, const char *stage);
void on_notice(void *notice_data, const char *text);
bool on_interrupted(void *nothing);

/* ---- convert.c -------------------------------------------------------------------------------- */

/* The text of a bytes object, which must outlive it; NULL for None. Return: 0, or -1 with an
 * exception. */
int optional_bytes(PyObject *bytes, const char **ret_text);

/* A str, or None for NULL. */
PyObject *text_or_none(const char *text);

/* An image's name, which may hold a path of the host: any bytes. */
PyObject *path_text(const char *text);

/* dict[key] = value. Takes over the value, and takes NULL for one whose making failed. */
int set_item(PyObject *dict, const char *key, PyObject *value);

/* list.append(item). Takes over the item, and takes NULL for one whose making failed. */
int append_item(PyObject *list, PyObject *item);

/* A NULL-terminated array of the strings of a tuple of bytes, which must outlive it. PyMem_Free()
 * it. */
const char **strings_from_tuple(PyObject *tuple);

/* ---- what Python holds ------------------------------------------------------------------------ */

/*
 * A handle, a pool and a result belong to the process that made them: a forked child has copies, whose
 * files and processes are its parent's, so there the destructors leave them alone.
 */
struct handle {
    struct flashvm *fvm;
    PyObject *progress, *notice;
    pid_t owner;
};

struct handle *handle_from_capsule(PyObject *capsule);

struct pool {
    struct flashvm_pool *pool;
    PyObject *handle; /* the capsule, which it keeps */
    pid_t owner;
};

struct pool *pool_from_capsule(PyObject *capsule);

/* The result as a dict of plain values. "owner" keeps the artifacts' files; None when there are
 * none. Takes over the result. */
PyObject *result_dict(struct flashvm_result *result);

/* ---- the functions of the module -------------------------------------------------------------- */

PyObject *module_open(PyObject *module, PyObject *arguments);
PyObject *module_run(PyObject *module, PyObject *arguments, PyObject *keywords);
PyObject *module_pool_open(PyObject *module, PyObject *arguments);
PyObject *module_pool_stats(PyObject *module, PyObject *capsule);
PyObject *module_prepare_image(PyObject *module, PyObject *arguments);
PyObject *module_list_cached_images(PyObject *module, PyObject *capsule);
PyObject *module_list_cached_templates(PyObject *module, PyObject *capsule);
PyObject *module_clear_cache(PyObject *module, PyObject *capsule);
PyObject *module_doctor(PyObject *module, PyObject *capsule);
