/* SPDX-License-Identifier: MIT */
#include "extension.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Raise the exception class of the error's status; frees the error. Return: always NULL. */
PyObject *raise_error(struct flashvm_error *error)
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

/* The library's callbacks belong to a handle that threads share, so the call is found here. */
static _Thread_local struct call *current_call;

void call_release_gil(struct call *call)
{
    call->outer = current_call;
    current_call = call;
    call->thread = PyEval_SaveThread();
}

void call_take_gil(struct call *call)
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
int call_watch_signals(struct call *call)
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
void call_unwatch_signals(struct call *call)
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

/* The library asks whether to end the call: it ends when a signal handler raised. */
bool on_interrupted(void *nothing)
{
    struct call *call = current_call;

    (void)nothing;
    if (call == NULL)
        return false;
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
 * Python code runs here, so a signal handler may raise here too, and so may a warning that is to be
 * an error. The exception is kept for the end of the call, and a signal's byte in the pipe makes the
 * library ask on_interrupted() meanwhile.
 */
static void tell(PyObject *function, const char *text)
{
    PyObject *argument, *result = NULL;
    struct call *call = current_call;

    if (call == NULL || call->raised)
        return;
    PyEval_RestoreThread(call->thread);
    argument =
        text ? PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace") : Py_BuildValue("");
    if (argument)
        result = PyObject_CallFunctionObjArgs(function, argument, NULL);
    call->raised = result == NULL;
    Py_XDECREF(result);
    Py_XDECREF(argument);
    call->thread = PyEval_SaveThread();
}

void on_progress(void *progress_data, const char *stage)
{
    tell(progress_data, stage);
}

void on_notice(void *notice_data, const char *text)
{
    tell(notice_data, text);
}
