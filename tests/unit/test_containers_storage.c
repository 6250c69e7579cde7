/* SPDX-License-Identifier: MIT */
/* Images in containers-storage, with scripts in the place of skopeo and buildah: what they are told,
 * and what is made of their answers. tests/e2e/test_containers_storage.py has the real ones. */
#include "assertions.h"
#include "image_fixture.h"

#include <errno.h>
#include <signal.h>

#include "base/cache.h"
#include "base/cleanup.h"
#include "image/containers_storage.h"
#include "image/storage_report.h"

#define EMBEDDED "localhost/flashvm:python-basic"
#define OTHER_ID "1111111111111111111111111111111111111111111111111111111111111111"

/*
 * Each call is noted in "log". The storage is the file "images", as buildah lists it; a copy, a pull
 * and a tag make it what "images-after" says. A file "fail-WORD" has what a call with that word says
 * while it fails, "hang" makes a copy wait.
 */
static const char script[] =
    "#!/bin/sh\n"
    "cd '%s'\n"
    "echo \"${0##*/} $*\" >>log\n"
    "for word in \"$@\"; do\n"
    "    word=${word##*/}\n"
    "    test -e fail-$word && /bin/cat fail-$word >&2 && exit 7\n"
    "done\n"
    "case \"$*\" in\n"
    "images*) /bin/cat images ;;\n"
    "info*) echo '{\"store\": {\"GraphDriverName\": \"vfs\", \"GraphRoot\": \"/srv\"}}' ;;\n"
    "unshare*) /bin/cat uid_map ;;\n"
    "inspect*) test -e \"raw-${3##*:}\" && exec /bin/cat \"raw-${3##*:}\"\n"
    "    echo 'reference \"x\" does not resolve to an image ID' >&2; exit 1 ;;\n"
    "*copy*|pull*|tag*)\n"
    "    echo $$ >pid\n"
    "    while test -e hang; do /bin/sleep 0.05; done\n"
    "    test -e images-after && /bin/cp images-after images\n"
    "    for raw in after-*; do /bin/cp \"$raw\" \"raw-${raw#after-}\"; done 2>/dev/null ;;\n"
    "esac\n"
    "true\n";

static char *own_path; /* PATH as it was */

static int setup(void **state)
{
    struct fixture *fixture;
    struct tar tar;
    char *path = NULL;

    own_path = strdup(getenv("PATH"));
    fixture_setup(state);
    fixture = *state;
    tar_begin(&tar);
    tar_bytes(&tar, "usr/bin/python3", "#!", 2, 0755);
    fixture_add_layer(fixture, &tar, GZIP);
    fixture_write_layout(fixture);
    assert_int_equal(fvm_cache_open(fixture->cache, &path, &fixture->error), 0);
    free(path);
    path = fvm_format("%s/bin", fixture->dir);
    assert_int_equal(mkdir(path, 0755), 0);
    setenv("PATH", path, 1);
    free(path);
    return 0;
}

static int teardown(void **state)
{
    setenv("PATH", own_path, 1);
    free(own_path);
    return fixture_teardown(state);
}

#define storage_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static void write_named(const struct fixture *fixture, const char *name, const char *text)
{
    cleanup_free char *path = fvm_format("%s/%s", fixture->dir, name);

    unlink(path);
    write_text(path, text);
}

static char *read_named(const struct fixture *fixture, const char *name)
{
    cleanup_free char *path = fvm_format("%s/%s", fixture->dir, name);
    char *text = NULL;

    assert_int_equal(fvm_read_file(path, 1 << 20, &text, NULL, NULL), 0);
    return text;
}

static void install(const struct fixture *fixture, const char *tool)
{
    cleanup_free char *text = fvm_format(script, fixture->dir);
    cleanup_free char *name = fvm_format("bin/%s", tool);
    cleanup_free char *path = fvm_format("%s/%s", fixture->dir, name);

    write_named(fixture, name, text);
    assert_int_equal(chmod(path, 0755), 0);
    write_named(fixture, "images", "[]");
    write_named(fixture, "log", "");
}

/* The calls since the last time, with the fixture's directory as DIR, one a line. */
static void assert_log(const struct fixture *fixture, const char *expected)
{
    cleanup_free char *log = read_named(fixture, "log");
    cleanup_free char *cache = strdup(fixture->cache);

    for (char *found; (found = strstr(log, cache)) != NULL;) {
        memcpy(found, "CACHE", 5);
        memmove(found + 5, found + strlen(cache), strlen(found + strlen(cache)) + 1);
    }
    assert_string_equal(log, expected);
    write_named(fixture, "log", "");
}

static struct fvm_storage_tools tools(void)
{
    struct fvm_storage_tools found = {0};

    assert_int_equal(fvm_storage_find_tools(&found, NULL), 1);
    return found;
}

static int import_for(struct fixture *fixture, const char *image, struct fvm_caller *caller,
                      char id[FVM_IMAGE_ID_SIZE])
{
    cleanup_storage_tools struct fvm_storage_tools found = tools();
    __attribute__((cleanup(fvm_image_finish))) struct fvm_image ready = {.rootfs_fd = -1};
    struct fvm_caller nobody = FVM_CALLER_NONE;

    assert_success(fvm_image_prepare(fixture->data_dir, fixture->cache, image, &nobody, &ready,
                                     &fixture->error),
                   &fixture->error);
    return fvm_storage_import(&found, fixture->data_dir, fixture->cache, &ready, caller, id,
                              &fixture->error);
}

static int import(struct fixture *fixture, const char *image)
{
    struct fvm_caller nobody = FVM_CALLER_NONE;
    char id[FVM_IMAGE_ID_SIZE] = "";
    int outcome = import_for(fixture, image, &nobody, id);

    if (outcome == 0)
        assert_int_equal(strlen(id), 64);
    return outcome;
}

static void assert_no_import(struct fixture *fixture, enum flashvm_status status, const char *part)
{
    assert_failure(import(fixture, NULL), &fixture->error, status, part);
}

/* The fixture's image, as it stands in its layout. */
struct identity {
    char manifest[FVM_DIGEST_SIZE];
    char config[FVM_DIGEST_SIZE];
};

static struct identity identity(struct fixture *fixture)
{
    cleanup_oci struct fvm_oci oci = {.fd = -1};
    cleanup_oci_image struct fvm_oci_image image = {0};
    struct fvm_descriptor manifest;
    struct identity identity;

    assert_success(fvm_oci_open(fixture->layout, &oci, &fixture->error), &fixture->error);
    assert_success(fvm_oci_find(&oci, NULL, NULL, &manifest, &fixture->error), &fixture->error);
    assert_success(fvm_oci_load(&oci, &manifest, &image, &fixture->error), &fixture->error);
    memcpy(identity.manifest, manifest.digest, FVM_DIGEST_SIZE);
    memcpy(identity.config, image.config_digest, FVM_DIGEST_SIZE);
    return identity;
}

/* What buildah will list: the image under this name, and one of somebody else's. */
static void will_be_there(struct fixture *fixture, const char *file, const char *name)
{
    struct identity is = identity(fixture);
    cleanup_free char *list =
        fvm_format("[{\"id\": \"%s\", \"names\": [\"%s\", \"docker.io/library/mine:1\"], "
                   "\"digest\": \"%s\"}, {\"id\": \"sha256:" OTHER_ID "\", \"names\": "
                   "[\"localhost/flashvm-not:x\"], \"digest\": \"sha256:" OTHER_ID "\"}]",
                   is.config, name, is.manifest);

    write_named(fixture, file, list);
}

/* ---- importing ------------------------------------------------------------------------------- */

#define LOOK "buildah images --json --no-trunc\n"

static void skopeo_copies_under_our_name(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *work = fvm_format("%s/containers-storage/work", fixture->cache);

    install(fixture, "skopeo");
    install(fixture, "buildah");
    will_be_there(fixture, "images-after", EMBEDDED);
    assert_success(import(fixture, NULL), &fixture->error);
    assert_log(fixture, LOOK LOOK
               "skopeo --tmpdir CACHE/containers-storage/work copy --quiet oci:flashvm:" EMBEDDED
               " containers-storage:" EMBEDDED "\n" LOOK);
    assert_int_equal(access(work, F_OK), -1);
    assert_success(import(fixture, NULL), &fixture->error); /* it is there */
    assert_log(fixture, LOOK);
}

static void the_id_is_the_configs_digest(void **state)
{
    struct fixture *fixture = *state;
    struct fvm_caller nobody = FVM_CALLER_NONE;
    char id[FVM_IMAGE_ID_SIZE];

    install(fixture, "buildah");
    will_be_there(fixture, "images", EMBEDDED);
    assert_success(import_for(fixture, NULL, &nobody, id), &fixture->error);
    assert_string_equal(id, identity(fixture).config + strlen("sha256:"));
}

/* Older versions name what they pull after the path, newer ones as the layout says. */
static void buildah_alone_pulls_and_tags(void **state)
{
    struct fixture *fixture = *state;
    struct identity is = identity(fixture);
    cleanup_free char *expected = fvm_format(
        LOOK LOOK "buildah pull --quiet --policy=always oci:flashvm:" EMBEDDED "\n"
                  "buildah tag %s " EMBEDDED "\nbuildah rmi localhost/flashvm:latest\n" LOOK,
        is.config + strlen("sha256:"));

    install(fixture, "buildah");
    will_be_there(fixture, "images-after", EMBEDDED);
    write_named(fixture, "fail-flashvm:latest", "");
    assert_success(import(fixture, NULL), &fixture->error);
    assert_log(fixture, expected);
}

static void skopeo_alone_is_asked_for_the_manifest(void **state)
{
    struct fixture *fixture = *state;
    struct identity is = identity(fixture);
    cleanup_free char *manifest =
        fvm_format("{\"config\": {\"digest\": \"%s\"}, \"layers\": []}", is.config);

    install(fixture, "skopeo");
    write_named(fixture, "after-python-basic", manifest);
    assert_success(import(fixture, NULL), &fixture->error);
    assert_success(import(fixture, NULL), &fixture->error);
    assert_log(fixture,
               "skopeo inspect --raw containers-storage:" EMBEDDED "\n"
               "skopeo inspect --raw containers-storage:" EMBEDDED "\n"
               "skopeo --tmpdir CACHE/containers-storage/work copy --quiet oci:flashvm:" EMBEDDED
               " containers-storage:" EMBEDDED "\n"
               "skopeo inspect --raw containers-storage:" EMBEDDED "\n"
               "skopeo inspect --raw containers-storage:" EMBEDDED "\n");
}

static void an_image_of_a_layout_is_named_after_its_digest(void **state)
{
    struct fixture *fixture = *state;
    struct identity is = identity(fixture);
    cleanup_free char *name =
        fvm_format("localhost/flashvm:sha256-%.16s", is.manifest + strlen("sha256:"));
    cleanup_free char *layout = fvm_format("oci:%s", fixture->layout);

    install(fixture, "buildah");
    will_be_there(fixture, "images", name);
    assert_success(import(fixture, layout), &fixture->error);
    assert_log(fixture, LOOK);
    will_be_there(fixture, "images", EMBEDDED); /* the same image under another name is not it */
    assert_failure(import(fixture, layout), &fixture->error, FLASHVM_IO, name);
}

/* By its digest alone: each name that the image had may lead to its layers. */
static void any_name_that_leads_to_the_layers_will_do(void **state)
{
    struct fixture *fixture = *state;
    struct identity is = identity(fixture);
    cleanup_free char *gone = fvm_format("%s/gone", fixture->dir);
    cleanup_free char *layout = fvm_format("oci:%s", fixture->layout);
    cleanup_free char *link = fvm_format("oci:%s", gone);
    cleanup_free char *name =
        fvm_format("localhost/flashvm:sha256-%.16s", is.manifest + strlen("sha256:"));

    install(fixture, "buildah");
    will_be_there(fixture, "images", name);
    assert_int_equal(symlink(fixture->layout, gone), 0);
    assert_success(import(fixture, link), &fixture->error);
    assert_success(import(fixture, layout), &fixture->error);
    assert_int_equal(unlink(gone), 0);
    assert_success(import(fixture, is.manifest), &fixture->error);
}

static void without_its_layers_an_image_cannot_be_imported(void **state)
{
    struct fixture *fixture = *state;
    struct identity is = identity(fixture);

    install(fixture, "buildah");
    will_be_there(fixture, "images", EMBEDDED);
    assert_success(import(fixture, NULL), &fixture->error);
    fvm_remove_tree(fixture->layout);
    assert_failure(import(fixture, is.manifest), &fixture->error, FLASHVM_NOT_FOUND,
                   "its layers are not at hand: there is no embedded image");
}

static void another_image_under_our_name_is_replaced(void **state)
{
    static const char foreign[] =
        "[{\"id\": \"" OTHER_ID "\", \"names\": [\"" EMBEDDED "\"], \"digest\": \"x\"}]";
    struct fixture *fixture = *state;
    struct identity is = identity(fixture);
    cleanup_free char *named = fvm_format("[{\"id\": \"%s\", \"names\": [\"" EMBEDDED "\"]}, "
                                          "{\"id\": \"" OTHER_ID "\", \"names\": [\"mine\"]}]",
                                          is.config);
    cleanup_free char *nameless = fvm_format("[{\"id\": \"%s\", \"names\": [\"" EMBEDDED "\"]}, "
                                             "{\"id\": \"" OTHER_ID "\", \"names\": null}]",
                                             is.config);
    const char *const after[] = {named, nameless};

    for (size_t i = 0; i < LENGTH(after); i++) {
        install(fixture, "skopeo");
        install(fixture, "buildah");
        write_named(fixture, "images", foreign);
        write_named(fixture, "images-after", after[i]);
        assert_success(import(fixture, NULL), &fixture->error);
        assert_log(fixture, i == 0 ? LOOK LOOK "skopeo --tmpdir CACHE/containers-storage/work copy "
                                               "--quiet oci:flashvm:" EMBEDDED
                                               " containers-storage:" EMBEDDED "\n" LOOK LOOK
                                   : LOOK LOOK "skopeo --tmpdir CACHE/containers-storage/work copy "
                                               "--quiet oci:flashvm:" EMBEDDED
                                               " containers-storage:" EMBEDDED "\n" LOOK LOOK
                                               "buildah rmi " OTHER_ID "\n");
    }
}

static void a_tool_that_does_nothing_is_found_out(void **state)
{
    struct fixture *fixture = *state;

    install(fixture, "skopeo");
    install(fixture, "buildah");
    assert_no_import(fixture, FLASHVM_IO, "the tool reported success, but the image of that name");
    write_named(fixture, "images-after", "{\"id\": 5");
    assert_no_import(fixture, FLASHVM_IO, "prints what is no JSON");
}

static void a_failure_has_the_tools_words_and_what_to_do(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *work = fvm_format("%s/containers-storage/work", fixture->cache);

    install(fixture, "skopeo");
    install(fixture, "buildah");
    write_named(fixture, "fail-copy", "level=fatal msg=\"write /x: no space left on device\"\n");
    assert_no_import(fixture, FLASHVM_IO, "level=fatal msg=\"write /x: no space left on device\"");
    assert_no_import(fixture, FLASHVM_IO, "\nWhat to do: free some space where the storage is");
    assert_no_import(fixture, FLASHVM_IO, "cannot import " EMBEDDED " into containers-storage: ");
    assert_no_import(fixture, FLASHVM_IO, "failed with exit code 7");
    assert_int_equal(access(work, F_OK), -1); /* and nothing is left */
    write_named(fixture, "fail-images", "finding newuidmap: executable file not found in $PATH\n");
    assert_no_import(fixture, FLASHVM_IO, "What to do: install newuidmap and newgidmap");
}

struct watch {
    struct fixture *fixture;
    const char *last_stage;
};

static void watch_stage(void *watch_data, const char *stage)
{
    ((struct watch *)watch_data)->last_stage = stage;
}

/* As soon as the tool works. */
static bool gives_up(void *watch_data)
{
    const struct watch *watch = watch_data;
    cleanup_free char *path = fvm_format("%s/pid", watch->fixture->dir);

    return access(path, F_OK) == 0;
}

static void a_caller_who_gives_up_ends_the_tool(void **state)
{
    struct fixture *fixture = *state;
    struct watch watch = {.fixture = fixture};
    struct fvm_caller caller = {.progress = watch_stage,
                                .progress_data = &watch,
                                .interrupt_fd = -1,
                                .interrupted = gives_up,
                                .interrupted_data = &watch};
    cleanup_free char *work = fvm_format("%s/containers-storage/work", fixture->cache);
    cleanup_free char *pid = NULL;
    char id[FVM_IMAGE_ID_SIZE];

    install(fixture, "skopeo");
    write_named(fixture, "hang", "");
    assert_failure(import_for(fixture, NULL, &caller, id), &fixture->error, FLASHVM_CANCELLED,
                   "the call was cancelled");
    assert_string_equal(watch.last_stage, "importing the image into containers-storage");
    pid = read_named(fixture, "pid");
    assert_int_equal(kill((pid_t)strtol(pid, NULL, 10), 0), -1);
    assert_int_equal(errno, ESRCH);
    assert_int_equal(access(work, F_OK), -1);
}

static bool does_not_wait(void *watch_data)
{
    return ((const struct watch *)watch_data)->last_stage != NULL;
}

static void one_imports_while_others_wait(void **state)
{
    struct fixture *fixture = *state;
    struct watch watch = {.fixture = fixture};
    struct fvm_caller caller = {.progress = watch_stage,
                                .progress_data = &watch,
                                .interrupt_fd = -1,
                                .interrupted = does_not_wait,
                                .interrupted_data = &watch};
    cleanup_close int directory_fd = -1, lock_fd = -1;
    char id[FVM_IMAGE_ID_SIZE];

    install(fixture, "skopeo");
    assert_int_equal(
        fvm_cache_open_directory(fixture->cache, "containers-storage", true, &directory_fd, NULL),
        0);
    assert_int_equal(fvm_cache_try_lock(directory_fd, "import", &lock_fd, NULL), 1);
    assert_failure(import_for(fixture, NULL, &caller, id), &fixture->error, FLASHVM_CANCELLED, "");
    assert_log(fixture, "skopeo inspect --raw containers-storage:" EMBEDDED "\n");
    assert_string_equal(watch.last_stage, "waiting for another process that imports an image");
}

/* ---- listing and clearing -------------------------------------------------------------------- */

static const struct flashvm_cached_images no_images = {0};

static struct fvm_stored_images list(struct fixture *fixture,
                                     const struct flashvm_cached_images *known)
{
    cleanup_storage_tools struct fvm_storage_tools found = tools();
    struct fvm_stored_images images = {0};
    struct fvm_caller nobody = FVM_CALLER_NONE;

    assert_success(fvm_storage_list(&found, known, &nobody, &images, &fixture->error),
                   &fixture->error);
    return images;
}

static void only_our_names_are_listed(void **state)
{
    struct fixture *fixture = *state;
    struct identity is = identity(fixture);

    install(fixture, "buildah");
    will_be_there(fixture, "images", EMBEDDED);
    {
        cleanup_stored_images struct fvm_stored_images images = list(fixture, &no_images);

        assert_int_equal(images.count, 1);
        assert_string_equal(images.all[0].name, EMBEDDED);
        assert_string_equal(images.all[0].id, is.config + strlen("sha256:"));
        assert_string_equal(images.all[0].digest, is.manifest);
        assert_true(fvm_stored_image_is(&images.all[0], is.manifest));
        assert_false(fvm_stored_image_is(&images.all[0], is.config));
    }
}

static void an_odd_list_is_taken_for_what_is_sound_in_it(void **state)
{
    static const char *const odd[] = {
        "null",
        "[]",
        "{}",
        "[5, {}, {\"id\": 5, \"names\": 5}, {\"names\": [5, null]}]",
        ("[{\"id\": \"sha256:12\", \"names\": [\"" EMBEDDED "\"], \"digest\": null}]"),
    };
    struct fixture *fixture = *state;

    install(fixture, "buildah");
    for (size_t i = 0; i < LENGTH(odd); i++) {
        write_named(fixture, "images", odd[i]);
        assert_int_equal(list(fixture, &no_images).count, 0);
    }
}

static int clear(struct fixture *fixture, const struct flashvm_cached_images *known)
{
    cleanup_storage_tools struct fvm_storage_tools found = tools();
    struct fvm_caller nobody = FVM_CALLER_NONE;

    return fvm_storage_clear(&found, fixture->cache, known, &nobody, &fixture->error);
}

static void clearing_removes_our_names_alone(void **state)
{
    static const char several[] =
        "[{\"id\": \"" OTHER_ID "\", \"names\": [\"" EMBEDDED "\", \"localhost/mine:1\", "
        "\"localhost/flashvm:sha256-0\", \"localhost/flashvm2:1\"]}, "
        "{\"id\": \"" OTHER_ID "\", \"names\": [\"docker.io/localhost/flashvm:1\"]}, "
        "{\"id\": \"" OTHER_ID "\", \"names\": null}]";
    struct fixture *fixture = *state;
    cleanup_free char *left = fvm_format("%s/containers-storage/work/left", fixture->cache);

    install(fixture, "skopeo");
    install(fixture, "buildah");
    write_named(fixture, "images", several);
    assert_int_equal(fvm_make_directories(left, 0700, NULL), 0); /* of one that died */
    assert_success(clear(fixture, &no_images), &fixture->error);
    assert_log(fixture, LOOK "buildah rmi " EMBEDDED "\nbuildah rmi localhost/flashvm:sha256-0\n");
    assert_int_equal(access(left, F_OK), -1);
    write_named(fixture,
                "fail-"
                "rmi",
                "image is in use by a container");
    assert_failure(clear(fixture, &no_images), &fixture->error, FLASHVM_IO,
                   EMBEDDED " stays in containers-storage: ");
    assert_log(fixture, /* it goes on */
               LOOK "buildah rmi " EMBEDDED "\nbuildah rmi localhost/flashvm:sha256-0\n");
}

static void what_is_being_imported_is_not_cleared(void **state)
{
    struct fixture *fixture = *state;
    cleanup_close int directory_fd = -1, lock_fd = -1;

    install(fixture, "buildah");
    will_be_there(fixture, "images", EMBEDDED);
    assert_int_equal(
        fvm_cache_open_directory(fixture->cache, "containers-storage", true, &directory_fd, NULL),
        0);
    assert_int_equal(fvm_cache_try_lock(directory_fd, "import", &lock_fd, NULL), 1);
    assert_success(clear(fixture, &no_images), &fixture->error);
    assert_log(fixture, "");
}

static void skopeo_alone_removes_nothing_and_says_so(void **state)
{
    const struct flashvm_cached_image image = {.digest = "sha256:" OTHER_ID};
    const struct flashvm_cached_image *const images[] = {&image};
    const struct flashvm_cached_images known = {.images = images, .image_count = 1};
    struct fixture *fixture = *state;

    install(fixture, "skopeo");
    assert_success(clear(fixture, &known), &fixture->error);
    assert_log(fixture, "skopeo inspect --raw containers-storage:" EMBEDDED "\n"
                        "skopeo inspect --raw containers-storage:localhost/"
                        "flashvm:sha256-1111111111111111\n");
    write_named(fixture, "raw-sha256-1111111111111111",
                "{\"config\": {\"digest\": \"sha256:" OTHER_ID "\"}}");
    assert_failure(clear(fixture, &known), &fixture->error, FLASHVM_NOT_FOUND,
                   "localhost/flashvm:sha256-1111111111111111 stays in containers-storage: skopeo");
    write_named(fixture, "fail-inspect", "permission denied");
    assert_failure(clear(fixture, &known), &fixture->error, FLASHVM_IO,
                   "cannot look for images in containers-storage: ");
}

/* ---- examining ------------------------------------------------------------------------------- */

static void assert_report(const char *tool, bool usable, const char *reason, const char *remedy)
{
    __attribute__((cleanup(fvm_storage_report_finish))) struct fvm_storage_report report = {0};
    struct fvm_caller nobody = FVM_CALLER_NONE;
    struct flashvm_error error = {0};

    assert_success(fvm_storage_examine(&nobody, &report, &error), &error);
    assert_string_equal(report.tool ?: "none", tool);
    assert_int_equal(report.usable, usable);
    if (strstr(report.reason, reason) == NULL)
        fail_msg("the reason is: %s", report.reason);
    if (remedy == NULL)
        assert_null(report.remedy);
    else
        assert_non_null(strstr(report.remedy, remedy));
    assert_string_equal(report.driver ?: "", usable && strstr(reason, "buildah") ? "vfs" : "");
}

static void the_report_tells_what_imports(void **state)
{
    struct fixture *fixture = *state;

    assert_report("none", false, "neither skopeo nor buildah is on PATH", NULL);
    install(fixture, "skopeo");
    assert_report("skopeo", true, "skopeo imports; nothing removes", NULL);
    install(fixture, "buildah");
    write_named(fixture, "uid_map", "0 1000 1\n1 100000 65536\n");
    assert_report("skopeo", true, "skopeo imports, buildah lists", NULL);
    write_named(fixture, "fail-info", "mkdir /srv/run: read-only file system");
    assert_report("skopeo", false, "mkdir /srv/run: read-only", "one that can be written");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        storage_test(skopeo_copies_under_our_name),
        storage_test(the_id_is_the_configs_digest),
        storage_test(buildah_alone_pulls_and_tags),
        storage_test(skopeo_alone_is_asked_for_the_manifest),
        storage_test(an_image_of_a_layout_is_named_after_its_digest),
        storage_test(any_name_that_leads_to_the_layers_will_do),
        storage_test(without_its_layers_an_image_cannot_be_imported),
        storage_test(another_image_under_our_name_is_replaced),
        storage_test(a_tool_that_does_nothing_is_found_out),
        storage_test(a_failure_has_the_tools_words_and_what_to_do),
        storage_test(a_caller_who_gives_up_ends_the_tool),
        storage_test(one_imports_while_others_wait),
        storage_test(only_our_names_are_listed),
        storage_test(an_odd_list_is_taken_for_what_is_sound_in_it),
        storage_test(clearing_removes_our_names_alone),
        storage_test(what_is_being_imported_is_not_cleared),
        storage_test(skopeo_alone_removes_nothing_and_says_so),
        storage_test(the_report_tells_what_imports),
    };

    return cmocka_run_group_tests_name("containers_storage", tests, NULL, NULL);
}
