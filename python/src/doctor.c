/* SPDX-License-Identifier: MIT */
#include "extension.h"

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

static PyObject *storage_dict(const struct flashvm_storage_report *storage)
{
    return Py_BuildValue("{s:N,s:N,s:N,s:N,s:N,s:N}", "tool", text_or_none(storage->tool), "usable",
                         PyBool_FromLong(storage->usable), "driver", text_or_none(storage->driver),
                         "root", text_or_none(storage->root), "reason",
                         text_or_none(storage->reason), "remedy", text_or_none(storage->remedy));
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
    if (dict &&
        (set_item(dict, "note", text_or_none(doctor->note)) < 0 ||
         set_item(dict, "engines", engines_dict(doctor)) < 0 ||
         set_item(dict, "containers_storage", storage_dict(doctor->containers_storage)) < 0 ||
         set_item(dict, "data_dir", text_or_none(doctor->data_dir)) < 0 ||
         set_item(dict, "cache_dir", text_or_none(doctor->cache_dir)) < 0))
        Py_CLEAR(dict);
    return dict;
}

PyObject *module_doctor(PyObject *module, PyObject *capsule)
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
