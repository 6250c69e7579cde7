/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "api/library.h"
#include "base/cleanup.h"
#include "run/template_cache.h"

/* The caller sees `public`; the rest is what it points to. */
struct templates {
    struct flashvm_cached_templates public;
    struct fvm_template_info *infos; /* as many as there are templates */
    struct flashvm_cached_template *all;
    const struct flashvm_cached_template **list;
};

void flashvm_cached_templates_free(struct flashvm_cached_templates *public)
{
    struct templates *templates = (struct templates *)public; /* its first member */

    if (templates == NULL)
        return;
    fvm_template_infos_free(templates->infos, templates->public.template_count);
    free(templates->all);
    free(templates->list);
    free(templates);
}

/* Fill in what points to `infos`. */
static int show(struct templates *templates, struct flashvm_error *error)
{
    size_t count = templates->public.template_count;

    templates->all = calloc(count + 1, sizeof *templates->all);
    templates->list = calloc(count + 1, sizeof *templates->list);
    if (templates->all == NULL || templates->list == NULL)
        return fvm_fail_no_memory(error);
    for (size_t i = 0; i < count; i++) {
        const struct fvm_template_info *info = &templates->infos[i];

        templates->all[i] = (struct flashvm_cached_template){
            .image = info->image,
            .engine = info->engine,
            .accelerator = info->accelerator,
            .cpus = info->cpus,
            .memory_mb = info->memory_mb,
            .size_bytes = info->size_bytes,
            .made_at = info->made_at,
            .used_at = info->used_at,
        };
        templates->list[i] = &templates->all[i];
    }
    templates->public.templates = templates->list;
    return 0;
}

static int list(struct flashvm *fvm, struct templates *templates, struct flashvm_error *error)
{
    const char *cache;

    if (fvm_library_cache(fvm, &cache, error) < 0 ||
        fvm_template_cache_list(cache, &templates->infos, &templates->public.template_count,
                                error) < 0)
        return -1;
    return show(templates, error);
}

int flashvm_list_cached_templates(struct flashvm *fvm,
                                  struct flashvm_cached_templates **ret_templates,
                                  struct flashvm_error *error)
{
    struct templates *templates = calloc(1, sizeof *templates);
    struct flashvm_error own = {0};

    if (templates == NULL) {
        fvm_fail_no_memory(&own);
        return fvm_error_return(&own, error);
    }
    if (list(fvm, templates, &own) < 0) {
        flashvm_cached_templates_free(&templates->public);
        return fvm_error_return(&own, error);
    }
    *ret_templates = &templates->public;
    return FLASHVM_OK;
}
