/* SPDX-License-Identifier: MIT */
#include "extension.h"

#include <unistd.h>

#define RESULT_NAME "flashvm.result"

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
PyObject *result_dict(struct flashvm_result *result)
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
        set_item(dict, "restored", PyBool_FromLong(result->restored)) < 0 ||
        set_item(dict, "pooled", PyBool_FromLong(result->pooled)) < 0 ||
        set_item(dict, "reseeded", PyBool_FromLong(result->reseeded)) < 0 ||
        set_item(dict, "clock_set", PyBool_FromLong(result->clock_set)) < 0 ||
        set_item(dict, "image_used", path_text(result->image_used)) < 0 ||
        set_item(dict, "engine", text_or_none(result->engine)) < 0 ||
        set_item(dict, "accelerator", text_or_none(result->accelerator)) < 0 ||
        set_item(dict, "timings", timings_dict(&result->timings)) < 0 ||
        PyDict_SetItemString(dict, "owner", result->artifact_count > 0 ? owner : Py_None) < 0)
        Py_CLEAR(dict);
    Py_DECREF(owner); /* without artifacts the library's copy of the output goes now */
    return dict;
}
