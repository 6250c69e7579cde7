/* SPDX-License-Identifier: MIT */
#include "extension.h"

/* Call the library with the GIL released, and signals watched unless a descriptor of the caller's
 * ends the run. Return: a new dict, or NULL. */
static PyObject *run_watched(struct handle *handle, struct pool *pool,
                             struct flashvm_run_options *options, const char *code,
                             Py_ssize_t code_size)
{
    struct flashvm_error error = {0};
    struct flashvm_result *result = NULL;
    struct call call = CALL_INIT;
    int status;

    if (options->interrupt_fd < 0) {
        if (call_watch_signals(&call) < 0)
            return NULL;
        options->interrupt_fd = call.wakeup_fd[0];
        options->interrupted = on_interrupted;
    }
    call_release_gil(&call);
    if (pool)
        status = flashvm_pool_run(pool->pool, options, code, (size_t)code_size, &result, &error);
    else
        status = flashvm_run(handle->fvm, options, code, (size_t)code_size, &result, &error);
    call_take_gil(&call);
    call_unwatch_signals(&call);
    if (call.raised) {
        /* The handler's exception is what the caller must see, even if the run was just finished.
         */
        flashvm_result_free(result);
        flashvm_error_finish(&error);
        return NULL;
    }
    return status == FLASHVM_OK ? result_dict(result) : raise_error(&error);
}

/*
 * The files of a tuple of (guest_path, host_path or None, data or None), all bytes, which must
 * outlive the array. PyMem_Free() it.
 */
static struct flashvm_file_in *files_from_tuple(PyObject *tuple)
{
    Py_ssize_t count = PyTuple_Size(tuple);
    struct flashvm_file_in *files;

    if (count < 0)
        return NULL;
    files = PyMem_Calloc((size_t)count + 1, sizeof *files);
    if (files == NULL)
        return (struct flashvm_file_in *)PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < count; i++) {
        struct flashvm_file_in *file = &files[i];
        Py_ssize_t path_size, data_size = 0;
        const char *data = NULL;

        /* "y" would not take None. */
        if (!PyArg_ParseTuple(PyTuple_GetItem(tuple, i), "yz#z#", &file->guest_path,
                              &file->host_path, &path_size, &data, &data_size)) {
            PyMem_Free(files);
            return NULL;
        }
        file->data = data;
        file->data_size = (size_t)data_size;
    }
    return files;
}

/* The tuples among the options; the arrays made of them go into flashvm_run_options. */
struct run_tuples {
    PyObject *env, *python_args, *args, *expect, *ports, *files_in;
};

static int take_tuples(struct flashvm_run_options *options, const struct run_tuples *tuples)
{
    options->env = strings_from_tuple(tuples->env);
    options->python_args = options->env ? strings_from_tuple(tuples->python_args) : NULL;
    options->args = options->python_args ? strings_from_tuple(tuples->args) : NULL;
    options->expect = options->args ? strings_from_tuple(tuples->expect) : NULL;
    options->ports = options->expect ? strings_from_tuple(tuples->ports) : NULL;
    options->files_in = options->ports ? files_from_tuple(tuples->files_in) : NULL;
    if (options->files_in == NULL)
        return -1;
    options->file_in_count = (size_t)PyTuple_Size(tuples->files_in);
    return 0;
}

PyObject *module_run(PyObject *module, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {
        "handle",
        "pool",
        "code",
        "engine",
        "cpus",
        "memory_mb",
        "timeout_ms",
        "boot_timeout_ms",
        "workdir",
        "env",
        "python_args",
        "args",
        "expect",
        "files_in",
        "stdin_fd",
        "cancel_fd",
        "cold_boot",
        "network",
        "ports",
        "image",
        "max_processes",
        "max_disk_mb",
        "max_files_in",
        "max_files_in_bytes",
        "max_stdout_bytes",
        "max_stderr_bytes",
        "max_artifacts",
        "max_artifact_bytes",
        NULL,
    };
    struct flashvm_run_options options = FLASHVM_RUN_OPTIONS_INIT;
    unsigned long long timeout_ms, boot_timeout_ms, files_in_bytes, stdout_bytes, stderr_bytes,
        artifact_bytes;
    struct run_tuples tuples;
    PyObject *capsule, *pool_capsule, *workdir, *image, *result = NULL;
    struct handle *handle;
    struct pool *pool = NULL;
    const char *code;
    Py_ssize_t code_size;
    int cold_boot, network;

    (void)module;
    if (!PyArg_ParseTupleAndKeywords(
            arguments, keywords, "OOy#yIIKKOOOOOOiippOOIIIKKKIK:run", names, &capsule,
            &pool_capsule, &code, &code_size, &options.engine, &options.cpus, &options.memory_mb,
            &timeout_ms, &boot_timeout_ms, &workdir, &tuples.env, &tuples.python_args, &tuples.args,
            &tuples.expect, &tuples.files_in, &options.stdin_fd, &options.interrupt_fd, &cold_boot,
            &network, &tuples.ports, &image, &options.max_processes, &options.max_disk_mb,
            &options.max_files_in, &files_in_bytes, &stdout_bytes, &stderr_bytes,
            &options.max_artifacts, &artifact_bytes) ||
        optional_bytes(workdir, &options.workdir) < 0 || optional_bytes(image, &options.image) < 0)
        return NULL;
    handle = handle_from_capsule(capsule);
    if (pool_capsule != Py_None)
        pool = pool_from_capsule(pool_capsule);
    if (handle == NULL || (pool == NULL && pool_capsule != Py_None))
        return NULL;
    options.cold_boot = cold_boot;
    options.network = network;
    options.timeout_ms = timeout_ms;
    options.boot_timeout_ms = boot_timeout_ms;
    options.max_files_in_bytes = files_in_bytes;
    options.max_stdout_bytes = stdout_bytes;
    options.max_stderr_bytes = stderr_bytes;
    options.max_artifact_bytes = artifact_bytes;
    if (take_tuples(&options, &tuples) == 0)
        result = run_watched(handle, pool, &options, code, code_size);
    PyMem_Free((void *)options.files_in);
    PyMem_Free((void *)options.ports);
    PyMem_Free((void *)options.expect);
    PyMem_Free((void *)options.args);
    PyMem_Free((void *)options.python_args);
    PyMem_Free((void *)options.env);
    return result;
}
