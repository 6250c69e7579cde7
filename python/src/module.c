/* SPDX-License-Identifier: MIT */
#include "extension.h"

#include <stdlib.h>

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

static PyMethodDef methods[] = {
    {"open", module_open, METH_VARARGS, "Open the library."},
    {"run", (PyCFunction)(void (*)(void))module_run, METH_VARARGS | METH_KEYWORDS,
     "Run a snippet in a fresh microVM."},
    {"pool_open", module_pool_open, METH_VARARGS, "Open a pool of microVMs that wait."},
    {"pool_stats", module_pool_stats, METH_O, "Say what a pool has done and has."},
    {"artifact_save", module_artifact_save, METH_VARARGS,
     "Copy a file to where its guest path leads."},
    {"prepare_image", module_prepare_image, METH_VARARGS, "Get an image ready in the cache."},
    {"list_cached_images", module_list_cached_images, METH_O, "List the images in the cache."},
    {"list_cached_templates", module_list_cached_templates, METH_O,
     "List the templates in the cache."},
    {"clear_cache", module_clear_cache, METH_O, "Remove all images and templates from the cache."},
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

PyMODINIT_FUNC PyInit__flashvm(void);

PyMODINIT_FUNC PyInit__flashvm(void)
{
    return PyModuleDef_Init(&module_definition);
}
