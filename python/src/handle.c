/* SPDX-License-Identifier: MIT */
#include "extension.h"

#include <unistd.h>

#define HANDLE_NAME "flashvm.handle"

struct handle *handle_from_capsule(PyObject *capsule)
{
    return PyCapsule_GetPointer(capsule, HANDLE_NAME);
}

static void handle_destroy(PyObject *capsule)
{
    struct handle *handle = handle_from_capsule(capsule);

    if (handle->owner == getpid())
        flashvm_close(handle->fvm);
    Py_DECREF(handle->progress);
    Py_DECREF(handle->notice);
    PyMem_Free(handle);
}

PyObject *module_open(PyObject *module, PyObject *arguments)
{
    struct flashvm_config config = FLASHVM_CONFIG_INIT;
    struct flashvm_error error = {0};
    struct handle *handle;
    PyObject *cache_dir, *progress, *notice, *capsule;

    (void)module;
    if (!PyArg_ParseTuple(arguments, "yyOOO:open", &config.data_dir, &config.libexec_dir,
                          &cache_dir, &progress, &notice))
        return NULL;
    if (optional_bytes(cache_dir, &config.cache_dir) < 0)
        return NULL;
    handle = PyMem_Malloc(sizeof *handle);
    if (handle == NULL)
        return PyErr_NoMemory();
    config.progress = on_progress;
    config.progress_data = progress;
    config.interrupted = on_interrupted;
    config.notice = on_notice;
    config.notice_data = notice;
    if (flashvm_open(&config, &handle->fvm, &error) != FLASHVM_OK) {
        PyMem_Free(handle);
        return raise_error(&error);
    }
    Py_INCREF(progress);
    handle->progress = progress;
    Py_INCREF(notice);
    handle->notice = notice;
    handle->owner = getpid();
    capsule = PyCapsule_New(handle, HANDLE_NAME, handle_destroy);
    if (capsule == NULL) {
        flashvm_close(handle->fvm);
        Py_DECREF(progress);
        Py_DECREF(notice);
        PyMem_Free(handle);
    }
    return capsule;
}
