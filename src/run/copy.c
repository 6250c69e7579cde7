/* SPDX-License-Identifier: MIT */
#include "run/copy.h"

#include <string.h>

#include "base/cleanup.h"
#include "run/conversation.h"

void fvm_copy_destroy(struct fvm_copy *copy)
{
    fvm_vm_destroy(&copy->vm);
}

static int rehearse(struct fvm_copy *copy, const struct fvm_guest *guest, struct fvm_caller *caller,
                    struct flashvm_error *error)
{
    if (fvm_conversation_rehearse(&copy->vm, FVM_REHEARSAL_OF_A_COPY, guest->boot_timeout_ms,
                                  caller, error) < 0)
        return -1;
    copy->is_reseeded = true;
    return 0;
}

int fvm_copy_warm_up(struct fvm_copy *copy, const struct fvm_guest *guest,
                     struct fvm_caller *caller, struct flashvm_error *error)
{
    if (copy->is_reseeded || guest->engine->copies_are_warm)
        return 0;
    return rehearse(copy, guest, caller, error);
}

static int start(const struct fvm_guest *guest, struct fvm_template *template,
                 struct fvm_caller *caller, struct fvm_copy *copy, struct flashvm_error *error)
{
    if (fvm_guest_restore(guest, &template->snapshot, false, &copy->vm, error) < 0)
        return -1;
    if (template->is_proven)
        return 0;
    /* Before it gets a run, for a snippet must not be tried twice. */
    if (rehearse(copy, guest, caller, error) < 0)
        return -1;
    template->is_proven = true;
    return 0;
}

/* @ret_is_no_good: the template that there is does not work, and was dropped. */
static int make(const struct fvm_guest *guest, struct fvm_templates *templates,
                struct fvm_caller *caller, struct fvm_copy *ret_copy, bool *ret_is_no_good,
                struct flashvm_error *error)
{
    cleanup_copy struct fvm_copy copy = FVM_COPY_NONE;
    struct fvm_template *template;
    int outcome;

    *ret_is_no_good = false;
    fvm_caller_tell(caller, "starting a microVM");
    if (fvm_template_get(templates, guest, caller, &template, error) < 0)
        return -1;
    memcpy(copy.template_key, template->key, sizeof copy.template_key);
    copy.template_made_at = template->made_at;
    outcome = start(guest, template, caller, &copy, error);
    /* Other failures, such as a lack of descriptors, are the host's. */
    *ret_is_no_good = outcome < 0 && (error->status == FLASHVM_BOOT_FAILED ||
                                      error->status == FLASHVM_GUEST_FAILED);
    if (*ret_is_no_good)
        fvm_template_drop(templates, guest, template);
    fvm_template_put(templates, template);
    if (outcome < 0)
        return -1;
    *ret_copy = copy;
    copy = (struct fvm_copy)FVM_COPY_NONE;
    return 0;
}

int fvm_copy_make(const struct fvm_guest *guest, struct fvm_templates *templates,
                  struct fvm_caller *caller, struct fvm_copy *ret_copy, struct flashvm_error *error)
{
    struct flashvm_error own = {0}; /* make() looks at it, and the caller may not want it */
    bool is_no_good;
    int outcome = make(guest, templates, caller, ret_copy, &is_no_good, &own);

    if (outcome < 0 && is_no_good)
        outcome = make(guest, templates, caller, ret_copy, &is_no_good, &own);
    if (outcome < 0)
        fvm_error_return(&own, error);
    else
        flashvm_error_finish(&own);
    return outcome;
}
