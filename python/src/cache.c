/* SPDX-License-Identifier: MIT */
#include "extension.h"

#include <stdlib.h>

PyObject *module_prepare_image(PyObject *module, PyObject *arguments)
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

    for (size_t i = 0; references && image->references[i]; i++)
        if (append_item(references, path_text(image->references[i])) < 0)
            Py_CLEAR(references);
    return Py_BuildValue("{s:N,s:N,s:s,s:K,s:L,s:L,s:N}", "reference", path_text(image->reference),
                         "references", references, "digest", image->digest, "size_bytes",
                         (unsigned long long)image->size_bytes, "made_at",
                         (long long)image->made_at, "used_at", (long long)image->used_at,
                         "in_containers_storage", PyBool_FromLong(image->in_containers_storage));
}

PyObject *module_list_cached_images(PyObject *module, PyObject *capsule)
{
    struct handle *handle = handle_from_capsule(capsule);
    struct flashvm_cached_images *images = NULL;
    struct flashvm_error error = {0};
    struct call call = CALL_INIT;
    PyObject *list = NULL;
    int status;

    (void)module;
    if (handle == NULL)
        return NULL;
    call_release_gil(&call);
    status = flashvm_list_cached_images(handle->fvm, &images, &error);
    call_take_gil(&call);
    if (call.raised)
        flashvm_error_finish(&error);
    else if (status != FLASHVM_OK)
        raise_error(&error);
    else
        list = PyList_New(0);
    for (size_t i = 0; list && i < images->image_count; i++)
        if (append_item(list, image_dict(images->images[i])) < 0)
            Py_CLEAR(list);
    flashvm_cached_images_free(images);
    return list;
}

static PyObject *template_dict(const struct flashvm_cached_template *template)
{
    return Py_BuildValue("{s:N,s:s,s:s,s:I,s:I,s:K,s:L,s:L}", /**/
                         "image", path_text(template->image), "engine", template->engine,
                         "accelerator", template->accelerator, "cpus", template->cpus, "memory_mb",
                         template->memory_mb, "size_bytes",
                         (unsigned long long)template->size_bytes, "made_at",
                         (long long)template->made_at, "used_at", (long long)template->used_at);
}

PyObject *module_list_cached_templates(PyObject *module, PyObject *capsule)
{
    struct handle *handle = handle_from_capsule(capsule);
    struct flashvm_cached_templates *templates = NULL;
    struct flashvm_error error = {0};
    PyObject *list;
    int status;

    (void)module;
    if (handle == NULL)
        return NULL;
    Py_BEGIN_ALLOW_THREADS status = flashvm_list_cached_templates(handle->fvm, &templates, &error);
    Py_END_ALLOW_THREADS if (status != FLASHVM_OK) return raise_error(&error);
    list = PyList_New(0);
    for (size_t i = 0; list && i < templates->template_count; i++)
        if (append_item(list, template_dict(templates->templates[i])) < 0)
            Py_CLEAR(list);
    flashvm_cached_templates_free(templates);
    return list;
}

PyObject *module_clear_cache(PyObject *module, PyObject *capsule)
{
    struct handle *handle = handle_from_capsule(capsule);
    struct flashvm_error error = {0};
    struct call call = CALL_INIT;
    uint64_t freed_bytes = 0;
    int status;

    (void)module;
    if (handle == NULL)
        return NULL;
    call_release_gil(&call);
    status = flashvm_clear_cache(handle->fvm, &freed_bytes, &error);
    call_take_gil(&call);
    if (call.raised) {
        flashvm_error_finish(&error);
        return NULL;
    }
    if (status != FLASHVM_OK)
        return raise_error(&error);
    return PyLong_FromUnsignedLongLong(freed_bytes);
}
