/* SPDX-License-Identifier: MIT */
#include "extension.h"

#include <unistd.h>

#define POOL_NAME "flashvm.pool"

struct pool *pool_from_capsule(PyObject *capsule)
{
    return PyCapsule_GetPointer(capsule, POOL_NAME);
}

/* The last call that uses it is over: it holds the capsule. */
static void pool_destroy(PyObject *capsule)
{
    struct pool *pool = pool_from_capsule(capsule);

    if (pool->owner == getpid()) {
        Py_BEGIN_ALLOW_THREADS flashvm_pool_close(pool->pool);
        Py_END_ALLOW_THREADS
    }
    Py_DECREF(pool->handle);
    PyMem_Free(pool);
}

/* Takes over the library's pool. */
static PyObject *pool_capsule(struct flashvm_pool *library_pool, PyObject *handle)
{
    struct pool *pool = PyMem_Malloc(sizeof *pool);
    PyObject *capsule;

    if (pool == NULL) {
        flashvm_pool_close(library_pool);
        return PyErr_NoMemory();
    }
    *pool = (struct pool){.pool = library_pool, .handle = handle, .owner = getpid()};
    capsule = PyCapsule_New(pool, POOL_NAME, pool_destroy);
    if (capsule == NULL) {
        flashvm_pool_close(library_pool);
        PyMem_Free(pool);
        return NULL;
    }
    Py_INCREF(handle);
    return capsule;
}

PyObject *module_pool_open(PyObject *module, PyObject *arguments)
{
    struct flashvm_pool_options options = FLASHVM_POOL_OPTIONS_INIT;
    struct flashvm_error error = {0};
    struct flashvm_pool *pool = NULL;
    struct call call = CALL_INIT;
    PyObject *capsule, *image;
    unsigned long long boot_timeout_ms, idle_ms;
    struct handle *handle;
    int status;

    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOyIIKIK:pool_open", &capsule, &image, &options.engine,
                          &options.cpus, &options.memory_mb, &boot_timeout_ms, &options.size,
                          &idle_ms) ||
        optional_bytes(image, &options.image) < 0 ||
        (handle = handle_from_capsule(capsule)) == NULL)
        return NULL;
    options.boot_timeout_ms = boot_timeout_ms;
    options.idle_ms = idle_ms;
    call_release_gil(&call);
    status = flashvm_pool_open(handle->fvm, &options, &pool, &error);
    call_take_gil(&call);
    if (call.raised) {
        flashvm_pool_close(pool);
        flashvm_error_finish(&error);
        return NULL;
    }
    return status == FLASHVM_OK ? pool_capsule(pool, capsule) : raise_error(&error);
}

PyObject *module_pool_stats(PyObject *module, PyObject *capsule)
{
    struct flashvm_pool_stats stats = FLASHVM_POOL_STATS_INIT;
    struct pool *pool = pool_from_capsule(capsule);

    (void)module;
    if (pool == NULL)
        return NULL;
    flashvm_pool_read_stats(pool->pool, &stats);
    return Py_BuildValue("{s:I,s:I,s:I,s:K,s:K,s:K}", "size", stats.size, "waiting", stats.waiting,
                         "running", stats.running, "served", (unsigned long long)stats.served,
                         "missed", (unsigned long long)stats.missed, "failed",
                         (unsigned long long)stats.failed);
}
