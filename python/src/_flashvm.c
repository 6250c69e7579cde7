/* SPDX-License-Identifier: MIT */
/*
 * flashvm._flashvm: the door between Python and libflashvm. It converts arguments that the package
 * has already checked, releases the GIL, calls the library and converts what comes back. Private to
 * the package; python/flashvm/_flashvm.pyi has the signatures.
 *
 * Limited API of Python 3.8: one binary for that and every later version.
 */
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x03080000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <flashvm/flashvm.h>

#define HANDLE_NAME "flashvm.handle"
#define RESULT_NAME "flashvm.result"

/* ---- errors ---------------------------------------------------------------------------------- */

/* Raise the exception class of the error's status; frees the error. Return: always NULL. */
static PyObject *raise_error(struct flashvm_error *error)
{
    const char *message = error->message ? error->message : flashvm_status_name(error->status);
    PyObject *text = PyUnicode_DecodeUTF8(message, (Py_ssize_t)strlen(message), "backslashreplace");
    PyObject *module = text ? PyImport_ImportModule("flashvm._errors") : NULL;
    PyObject *exception = NULL;

    if (module)
        exception = PyObject_CallMethod(module, "from_status", "iOi", (int)error->status, text,
                                        error->os_errno);
    if (exception) {
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
        Py_DECREF(exception);
    }
    Py_XDECREF(module);
    Py_XDECREF(text);
    flashvm_error_finish(error);
    return NULL;
}

/* ---- a call into the library ----------------------------------------------------------------- */

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

/* The library's progress callback belongs to a handle that threads share, so the call is found
 * here. */
static _Thread_local struct call *current_call;

static void call_release_gil(struct call *call)
{
    call->outer = current_call;
    current_call = call;
    call->thread = PyEval_SaveThread();
}

static void call_take_gil(struct call *call)
{
    PyEval_RestoreThread(call->thread);
    current_call = call->outer;
}

/* signal.set_wakeup_fd(fd). Return: 0 and the one that was set, or -1 with an exception. */
static int set_wakeup_fd(int fd, bool warn_on_full_buffer, int *ret_previous)
{
    PyObject *module = PyImport_ImportModule("signal");
    PyObject *function = module ? PyObject_GetAttrString(module, "set_wakeup_fd") : NULL;
    PyObject *arguments = Py_BuildValue("(i)", fd);
    PyObject *keywords = Py_BuildValue("{s:i}", "warn_on_full_buffer", (int)warn_on_full_buffer);
    PyObject *previous = NULL;
    long number = -1;

    if (function && arguments && keywords)
        previous = PyObject_Call(function, arguments, keywords);
    if (previous)
        number = PyLong_AsLong(previous);
    Py_XDECREF(previous);
    Py_XDECREF(keywords);
    Py_XDECREF(arguments);
    Py_XDECREF(function);
    Py_XDECREF(module);
    if (PyErr_Occurred())
        return -1;
    *ret_previous = (int)number;
    return 0;
}

/*
 * Have a signal make a descriptor readable for as long as the call lasts. An interrupted system
 * call alone is not enough: the signal may come just before the wait, or on another thread.
 *
 * This is C, not a context manager, because no Python code runs between the steps: no
 * KeyboardInterrupt can come between taking the descriptor and giving it back. Only the main thread
 * may set one, and only there do Python's signal handlers run; elsewhere the ValueError says so,
 * and the call does without.
 *
 * Return: 0, or -1 with an exception.
 */
static int call_watch_signals(struct call *call)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
        struct flashvm_error error = {.status = FLASHVM_IO, .os_errno = errno};

        if (asprintf(&error.message, "cannot make a pipe to wait for signals: %s",
                     strerror(error.os_errno)) < 0)
            error.message = NULL;
        raise_error(&error);
        return -1;
    }
    if (set_wakeup_fd(fds[1], false, &call->outer_wakeup_fd) < 0) {
        close(fds[0]);
        close(fds[1]);
        if (!PyErr_ExceptionMatches(PyExc_ValueError))
            return -1;
        PyErr_Clear();
        return 0;
    }
    call->wakeup_fd[0] = fds[0];
    call->wakeup_fd[1] = fds[1];
    return 0;
}

/* Empty our pipe. What asyncio, say, would have been told of, it is told of. */
static void call_pass_on_wakeups(struct call *call)
{
    char signals[256];
    ssize_t count;

    while ((count = read(call->wakeup_fd[0], signals, sizeof signals)) > 0)
        if (call->outer_wakeup_fd >= 0 && write(call->outer_wakeup_fd, signals, (size_t)count) < 0)
            continue; /* full or gone: its owner has been woken, or does not listen */
}

/* Undo call_watch_signals(). Keeps an exception that is set. */
static void call_unwatch_signals(struct call *call)
{
    PyObject *type, *value, *traceback;
    int ours;

    if (call->wakeup_fd[0] < 0)
        return;
    PyErr_Fetch(&type, &value, &traceback);
    if (set_wakeup_fd(call->outer_wakeup_fd, true, &ours) < 0) {
        PyErr_Clear(); /* its owner closed it meanwhile */
        if (set_wakeup_fd(-1, true, &ours) < 0)
            PyErr_Clear();
    }
    PyErr_Restore(type, value, traceback);
    call_pass_on_wakeups(call);
    close(call->wakeup_fd[0]);
    close(call->wakeup_fd[1]);
}

/* The library asks whether to end the run: it ends when a signal handler raised. */
static bool on_interrupted(void *interrupted_data)
{
    struct call *call = interrupted_data;

    /* Empty first, look then: CPython notes a signal before it writes its byte. */
    if (call->wakeup_fd[0] >= 0)
        call_pass_on_wakeups(call);
    if (call->raised)
        return true;
    PyEval_RestoreThread(call->thread);
    call->raised = PyErr_CheckSignals() < 0;
    call->thread = PyEval_SaveThread();
    return call->raised;
}

/*
 * Python code runs here, so a signal handler may raise here too. The exception is kept for the end
 * of the call, and the signal's byte in the pipe makes the library ask on_interrupted() meanwhile.
 */
static void on_progress(void *progress_data, const char *stage)
{
    PyObject *progress = progress_data, *text, *result = NULL;
    struct call *call = current_call;

    if (call == NULL || call->raised)
        return;
    PyEval_RestoreThread(call->thread);
    text = stage ? PyUnicode_DecodeUTF8(stage, (Py_ssize_t)strlen(stage), "replace")
                 : Py_BuildValue("");
    if (text)
        result = PyObject_CallFunctionObjArgs(progress, text, NULL);
    call->raised = result == NULL;
    Py_XDECREF(result);
    Py_XDECREF(text);
    call->thread = PyEval_SaveThread();
}

/* ---- conversions ----------------------------------------------------------------------------- */

/* The text of a bytes object, which must outlive it; NULL for None. Return: 0, or -1 with an
 * exception. */
static int optional_bytes(PyObject *bytes, const char **ret_text)
{
    *ret_text = bytes == Py_None ? NULL : PyBytes_AsString(bytes);
    return *ret_text == NULL && bytes != Py_None ? -1 : 0;
}

/* A str, or None for NULL. */
static PyObject *text_or_none(const char *text)
{
    return text ? PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace")
                : Py_BuildValue("");
}

/* An image's name, which may hold a path of the host: any bytes. */
static PyObject *path_text(const char *text)
{
    return PyUnicode_DecodeFSDefault(text);
}

/* dict[key] = value. Takes over the value, and takes NULL for one whose making failed. */
static int set_item(PyObject *dict, const char *key, PyObject *value)
{
    int status = value ? PyDict_SetItemString(dict, key, value) : -1;

    Py_XDECREF(value);
    return status;
}

/* A NULL-terminated array of the strings of a tuple of bytes, which must outlive it. PyMem_Free()
 * it. */
static const char **strings_from_tuple(PyObject *tuple)
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

/* ---- the library handle ---------------------------------------------------------------------- */

/*
 * A handle and a result belong to the process that made them: a forked child has copies, whose
 * files and processes are its parent's, so there the destructors leave them alone.
 */
struct handle {
    struct flashvm *fvm;
    PyObject *progress;
    pid_t owner;
};

static struct handle *handle_from_capsule(PyObject *capsule)
{
    return PyCapsule_GetPointer(capsule, HANDLE_NAME);
}

static void handle_destroy(PyObject *capsule)
{
    struct handle *handle = handle_from_capsule(capsule);

    if (handle->owner == getpid())
        flashvm_close(handle->fvm);
    Py_DECREF(handle->progress);
    PyMem_Free(handle);
}

static PyObject *module_open(PyObject *module, PyObject *arguments)
{
    struct flashvm_config config = FLASHVM_CONFIG_INIT;
    struct flashvm_error error = {0};
    struct handle *handle;
    PyObject *cache_dir, *progress, *capsule;

    (void)module;
    if (!PyArg_ParseTuple(arguments, "yyOO:open", &config.data_dir, &config.libexec_dir, &cache_dir,
                          &progress))
        return NULL;
    if (optional_bytes(cache_dir, &config.cache_dir) < 0)
        return NULL;
    handle = PyMem_Malloc(sizeof *handle);
    if (handle == NULL)
        return PyErr_NoMemory();
    config.progress = on_progress;
    config.progress_data = progress;
    if (flashvm_open(&config, &handle->fvm, &error) != FLASHVM_OK) {
        PyMem_Free(handle);
        return raise_error(&error);
    }
    Py_INCREF(progress);
    handle->progress = progress;
    handle->owner = getpid();
    capsule = PyCapsule_New(handle, HANDLE_NAME, handle_destroy);
    if (capsule == NULL) {
        flashvm_close(handle->fvm);
        Py_DECREF(progress);
        PyMem_Free(handle);
    }
    return capsule;
}

/* ---- run ------------------------------------------------------------------------------------- */

struct owned_result {
    struct flashvm_result *result;
    pid_t owner;
};

static void result_destroy(PyObject *capsule)
{
    struct owned_result *owned = PyCapsule_GetPointer(capsule, RESULT_NAME);

    if (owned->owner == getpid())
        flashvm_result_free(owned->result);
    PyMem_Free(owned);
}

/* The object that frees the result when its last reference goes. Takes over the result. */
static PyObject *result_capsule(struct flashvm_result *result)
{
    struct owned_result *owned = PyMem_Malloc(sizeof *owned);
    PyObject *capsule;

    if (owned == NULL) {
        flashvm_result_free(result);
        return PyErr_NoMemory();
    }
    *owned = (struct owned_result){.result = result, .owner = getpid()};
    capsule = PyCapsule_New(owned, RESULT_NAME, result_destroy);
    if (capsule == NULL) {
        flashvm_result_free(result);
        PyMem_Free(owned);
    }
    return capsule;
}

static PyObject *artifacts_list(const struct flashvm_result *result)
{
    PyObject *list = PyList_New((Py_ssize_t)result->artifact_count);

    for (size_t i = 0; list && i < result->artifact_count; i++) {
        const struct flashvm_artifact *artifact = &result->artifacts[i];
        PyObject *item = Py_BuildValue("(yyKs)", artifact->guest_path, artifact->host_path,
                                       (unsigned long long)artifact->size_bytes, artifact->sha256);

        if (item == NULL || PyList_SetItem(list, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *timings_dict(const struct flashvm_timings *timings)
{
    return Py_BuildValue(
        "{s:K,s:K,s:K,s:K,s:K,s:K}", "prepare_us", (unsigned long long)timings->prepare_us,
        "boot_us", (unsigned long long)timings->boot_us, "run_us",
        (unsigned long long)timings->run_us, "execute_us", (unsigned long long)timings->execute_us,
        "destroy_us", (unsigned long long)timings->destroy_us, "total_us",
        (unsigned long long)timings->total_us);
}

/* The result as a dict of plain values. "owner" keeps the artifacts' files; None when there are
 * none. */
static PyObject *result_dict(struct flashvm_result *result)
{
    PyObject *owner = result_capsule(result);
    PyObject *dict = owner ? PyDict_New() : NULL;

    if (dict == NULL) {
        Py_XDECREF(owner);
        return NULL;
    }
    if (set_item(dict, "exit_code", PyLong_FromLong(result->exit_code)) < 0 ||
        set_item(dict, "term_signal", PyLong_FromLong(result->term_signal)) < 0 ||
        set_item(dict, "started", PyBool_FromLong(result->started)) < 0 ||
        set_item(dict, "timed_out", PyBool_FromLong(result->timed_out)) < 0 ||
        set_item(dict, "oom_killed", PyBool_FromLong(result->oom_killed)) < 0 ||
        set_item(dict, "ended_by_limit", text_or_none(result->ended_by_limit)) < 0 ||
        set_item(dict, "cpu_time_us", PyLong_FromUnsignedLongLong(result->cpu_time_us)) < 0 ||
        set_item(dict, "peak_memory_bytes",
                 PyLong_FromUnsignedLongLong(result->peak_memory_bytes)) < 0 ||
        set_item(dict, "stdout_data",
                 PyBytes_FromStringAndSize(result->stdout_data, (Py_ssize_t)result->stdout_size)) <
            0 ||
        set_item(dict, "stdout_bytes", PyLong_FromUnsignedLongLong(result->stdout_bytes)) < 0 ||
        set_item(dict, "stdout_truncated", PyBool_FromLong(result->stdout_truncated)) < 0 ||
        set_item(dict, "stderr_data",
                 PyBytes_FromStringAndSize(result->stderr_data, (Py_ssize_t)result->stderr_size)) <
            0 ||
        set_item(dict, "stderr_bytes", PyLong_FromUnsignedLongLong(result->stderr_bytes)) < 0 ||
        set_item(dict, "stderr_truncated", PyBool_FromLong(result->stderr_truncated)) < 0 ||
        set_item(dict, "artifacts", artifacts_list(result)) < 0 ||
        set_item(dict, "artifacts_note", text_or_none(result->artifacts_note)) < 0 ||
        set_item(dict, "image_used", path_text(result->image_used)) < 0 ||
        set_item(dict, "engine", text_or_none(result->engine)) < 0 ||
        set_item(dict, "accelerator", text_or_none(result->accelerator)) < 0 ||
        set_item(dict, "timings", timings_dict(&result->timings)) < 0 ||
        PyDict_SetItemString(dict, "owner", result->artifact_count > 0 ? owner : Py_None) < 0)
        Py_CLEAR(dict);
    Py_DECREF(owner); /* without artifacts the library's copy of the output goes now */
    return dict;
}

/* Call the library with signals watched and the GIL released. Return: a new dict, or NULL. */
static PyObject *run_watched(struct handle *handle, struct flashvm_run_options *options,
                             const char *code, Py_ssize_t code_size)
{
    struct flashvm_error error = {0};
    struct flashvm_result *result = NULL;
    struct call call = CALL_INIT;
    int status;

    if (call_watch_signals(&call) < 0)
        return NULL;
    options->interrupt_fd = call.wakeup_fd[0];
    options->interrupted = on_interrupted;
    options->interrupted_data = &call;
    call_release_gil(&call);
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

static PyObject *module_run(PyObject *module, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {
        "handle",
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
    PyObject *capsule, *workdir, *image, *result = NULL;
    struct handle *handle;
    const char *code;
    Py_ssize_t code_size;
    int network;

    (void)module;
    if (!PyArg_ParseTupleAndKeywords(
            arguments, keywords, "Oy#yIIKKOOOOOOipOOIIIKKKIK:run", names, &capsule, &code,
            &code_size, &options.engine, &options.cpus, &options.memory_mb, &timeout_ms,
            &boot_timeout_ms, &workdir, &tuples.env, &tuples.python_args, &tuples.args,
            &tuples.expect, &tuples.files_in, &options.stdin_fd, &network, &tuples.ports, &image,
            &options.max_processes, &options.max_disk_mb, &options.max_files_in, &files_in_bytes,
            &stdout_bytes, &stderr_bytes, &options.max_artifacts, &artifact_bytes) ||
        optional_bytes(workdir, &options.workdir) < 0 || optional_bytes(image, &options.image) < 0)
        return NULL;
    handle = handle_from_capsule(capsule);
    if (handle == NULL)
        return NULL;
    options.network = network;
    options.timeout_ms = timeout_ms;
    options.boot_timeout_ms = boot_timeout_ms;
    options.max_files_in_bytes = files_in_bytes;
    options.max_stdout_bytes = stdout_bytes;
    options.max_stderr_bytes = stderr_bytes;
    options.max_artifact_bytes = artifact_bytes;
    if (take_tuples(&options, &tuples) == 0)
        result = run_watched(handle, &options, code, code_size);
    PyMem_Free((void *)options.files_in);
    PyMem_Free((void *)options.ports);
    PyMem_Free((void *)options.expect);
    PyMem_Free((void *)options.args);
    PyMem_Free((void *)options.python_args);
    PyMem_Free((void *)options.env);
    return result;
}

/* ---- images, doctor, version ----------------------------------------------------------------- */

static PyObject *module_prepare_image(PyObject *module, PyObject *arguments)
{
    struct handle *handle;
    struct flashvm_error error = {0};
    struct call call = CALL_INIT;
    char *image_used = NULL;
    PyObject *capsule, *image_bytes, *text;
    const char *image;
    int status;

    (void)module;
    if (!PyArg_ParseTuple(arguments, "OO:prepare_image", &capsule, &image_bytes) ||
        optional_bytes(image_bytes, &image) < 0 || (handle = handle_from_capsule(capsule)) == NULL)
        return NULL;
    call_release_gil(&call);
    status = flashvm_prepare_image(handle->fvm, image, &image_used, &error);
    call_take_gil(&call);
    if (call.raised || status != FLASHVM_OK) {
        free(image_used);
        if (!call.raised)
            return raise_error(&error);
        flashvm_error_finish(&error);
        return NULL;
    }
    text = path_text(image_used);
    free(image_used);
    return text;
}

static PyObject *image_dict(const struct flashvm_cached_image *image)
{
    PyObject *references = PyList_New(0);

    for (size_t i = 0; references && image->references[i]; i++) {
        PyObject *reference = path_text(image->references[i]);

        if (reference == NULL || PyList_Append(references, reference) < 0)
            Py_CLEAR(references);
        Py_XDECREF(reference);
    }
    return Py_BuildValue("{s:N,s:N,s:s,s:K,s:L,s:L}", "reference", path_text(image->reference),
                         "references", references, "digest", image->digest, "size_bytes",
                         (unsigned long long)image->size_bytes, "made_at",
                         (long long)image->made_at, "used_at", (long long)image->used_at);
}

static PyObject *module_list_cached_images(PyObject *module, PyObject *capsule)
{
    struct handle *handle = handle_from_capsule(capsule);
    struct flashvm_cached_images *images = NULL;
    struct flashvm_error error = {0};
    PyObject *list;
    int status;

    (void)module;
    if (handle == NULL)
        return NULL;
    Py_BEGIN_ALLOW_THREADS status = flashvm_list_cached_images(handle->fvm, &images, &error);
    Py_END_ALLOW_THREADS if (status != FLASHVM_OK) return raise_error(&error);
    list = PyList_New(0);
    for (size_t i = 0; list && i < images->image_count; i++) {
        PyObject *image = image_dict(images->images[i]);

        if (image == NULL || PyList_Append(list, image) < 0)
            Py_CLEAR(list);
        Py_XDECREF(image);
    }
    flashvm_cached_images_free(images);
    return list;
}

static PyObject *module_clear_cache(PyObject *module, PyObject *capsule)
{
    struct handle *handle = handle_from_capsule(capsule);
    struct flashvm_error error = {0};
    uint64_t freed_bytes = 0;
    int status;

    (void)module;
    if (handle == NULL)
        return NULL;
    Py_BEGIN_ALLOW_THREADS status = flashvm_clear_cache(handle->fvm, &freed_bytes, &error);
    Py_END_ALLOW_THREADS if (status != FLASHVM_OK) return raise_error(&error);
    return PyLong_FromUnsignedLongLong(freed_bytes);
}

static PyObject *engines_dict(const struct flashvm_doctor *doctor)
{
    PyObject *engines = PyDict_New();

    for (size_t i = 0; engines && i < doctor->engine_count; i++) {
        const struct flashvm_engine_report *report = &doctor->engines[i];
        PyObject *engine =
            Py_BuildValue("{s:N,s:N,s:N,s:N}", "usable", PyBool_FromLong(report->usable),
                          "accelerator", text_or_none(report->accelerator), "reason",
                          text_or_none(report->reason), "remedy", text_or_none(report->remedy));

        if (set_item(engines, report->name, engine) < 0)
            Py_CLEAR(engines);
    }
    return engines;
}

static PyObject *doctor_dict(const struct flashvm_doctor *doctor)
{
    const struct {
        const char *key;
        bool value;
    } flags[] = {
        {"krunvm", doctor->krunvm},
        {"buildah", doctor->buildah},
        {"skopeo", doctor->skopeo},
        {"kvm", doctor->kvm},
        {"qemu", doctor->qemu},
        {"offline_mode", doctor->offline_mode},
        {"embedded_imported", doctor->embedded_imported},
        {"ready", doctor->ready},
    };
    PyObject *dict = PyDict_New();

    for (size_t i = 0; dict && i < sizeof flags / sizeof *flags; i++)
        if (set_item(dict, flags[i].key, PyBool_FromLong(flags[i].value)) < 0)
            Py_CLEAR(dict);
    if (dict && (set_item(dict, "note", text_or_none(doctor->note)) < 0 ||
                 set_item(dict, "engines", engines_dict(doctor)) < 0 ||
                 set_item(dict, "data_dir", text_or_none(doctor->data_dir)) < 0 ||
                 set_item(dict, "cache_dir", text_or_none(doctor->cache_dir)) < 0))
        Py_CLEAR(dict);
    return dict;
}

static PyObject *module_doctor(PyObject *module, PyObject *capsule)
{
    struct handle *handle = handle_from_capsule(capsule);
    struct flashvm_doctor *doctor = NULL;
    struct flashvm_error error = {0};
    struct call call = CALL_INIT;
    PyObject *dict = NULL;
    int status;

    (void)module;
    if (handle == NULL)
        return NULL;
    call_release_gil(&call);
    status = flashvm_doctor(handle->fvm, &doctor, &error);
    call_take_gil(&call);
    if (call.raised)
        flashvm_error_finish(&error);
    else if (status != FLASHVM_OK)
        raise_error(&error);
    else
        dict = doctor_dict(doctor);
    flashvm_doctor_free(doctor);
    return dict;
}

static PyObject *module_artifact_save(PyObject *module, PyObject *arguments)
{
    struct flashvm_artifact artifact = {0};
    struct flashvm_error error = {0};
    const char *directory;
    char *path = NULL;
    PyObject *saved;
    int status;

    (void)module;
    /* The tuple keeps the bytes objects alive while the lock is released. */
    if (!PyArg_ParseTuple(arguments, "yyy", &artifact.guest_path, &artifact.host_path, &directory))
        return NULL;
    Py_BEGIN_ALLOW_THREADS status = flashvm_artifact_save(&artifact, directory, &path, &error);
    Py_END_ALLOW_THREADS if (status != FLASHVM_OK) return raise_error(&error);
    saved = PyBytes_FromString(path);
    free(path);
    return saved;
}

static PyObject *module_version(PyObject *module, PyObject *nothing)
{
    (void)module, (void)nothing;
    return PyUnicode_FromString(flashvm_version());
}

/* ---- the module ------------------------------------------------------------------------------ */

static PyMethodDef methods[] = {
    {"open", module_open, METH_VARARGS, "Open the library."},
    {"run", (PyCFunction)(void (*)(void))module_run, METH_VARARGS | METH_KEYWORDS,
     "Run a snippet in a fresh microVM."},
    {"artifact_save", module_artifact_save, METH_VARARGS,
     "Copy a file to where its guest path leads."},
    {"prepare_image", module_prepare_image, METH_VARARGS, "Get an image ready in the cache."},
    {"list_cached_images", module_list_cached_images, METH_O, "List the images in the cache."},
    {"clear_cache", module_clear_cache, METH_O, "Remove all images from the cache."},
    {"doctor", module_doctor, METH_O, "Say what this machine can do."},
    {"version", module_version, METH_NOARGS, "The version of the library."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef_Slot slots[] = {
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "flashvm._flashvm",
    .m_doc = "The door to libflashvm; private to the package.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__flashvm(void)
{
    return PyModuleDef_Init(&module_definition);
}
