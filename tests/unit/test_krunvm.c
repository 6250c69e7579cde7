/* SPDX-License-Identifier: MIT */
/* The engine krunvm, with scripts in the place of krunvm and buildah: what they are told, what stays
 * when they fail, and what is never given to them. The nested lab has the real ones. */
#include "assertions.h"
#include "image_fixture.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "base/cache.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "engine/krunvm.h"
#include "image/image.h"

#define EMBEDDED "localhost/flashvm:python-basic"

/*
 * A call of krunvm's is noted in "log", with what its volume has. "fail-create" has what a create
 * says while it fails; while there is "hang" it waits; "hangs" then says that it does.
 */
static const char krunvm_script[] =
    "#!/bin/sh\n"
    "echo \"krunvm $*\" >>'%1$s/log'\n"
    "case $1 in\n"
    "create)\n"
    "    volume=${7%%%%:*}\n"
    "    echo $(cd \"$volume\" && echo * zygote/*) >>'%1$s/log'\n"
    "    while test -e '%1$s/hang'; do /bin/touch '%1$s/hangs'; /bin/sleep 0.05; done\n"
    "    test -e '%1$s/fail-create' && /bin/cat '%1$s/fail-create' && exit 255\n"
    "    /bin/mkdir -p \"$XDG_CONFIG_HOME/krunvm\" ;;\n"
    "start) echo \"${XDG_CONFIG_HOME##*/} $_CONTAINERS_USERNS_CONFIGURED\" >>'%1$s/log'; echo "
    "started; exec /bin/sleep 600 ;;\n"
    "esac\n";

static const char buildah_script[] = "#!/bin/sh\nexec /bin/cat '%1$s/images'\n";

struct stage {
    struct fixture *fixture; /* the first member: the fixture's functions find it */
    char *own_path;
    struct fvm_host host;
    struct fvm_image image;
};

static char *in_stage(const struct stage *stage, const char *name)
{
    char *path = fvm_format("%s/%s", stage->fixture->dir, name);

    assert_non_null(path);
    return path;
}

static void write_stage(const struct stage *stage, const char *name, const char *text)
{
    cleanup_free char *path = in_stage(stage, name);

    unlink(path);
    write_text(path, text);
}

static bool is_there(const struct stage *stage, const char *name)
{
    cleanup_free char *path = in_stage(stage, name);

    return access(path, F_OK) == 0;
}

static void install(const struct stage *stage, const char *name, const char *script)
{
    cleanup_free char *text = fvm_format(script, stage->fixture->dir); // NOLINT: ours, see above
    cleanup_free char *path = in_stage(stage, name);

    write_text(path, text);
    assert_int_equal(chmod(path, 0755), 0);
}

static void add_to_initramfs(struct archive *archive, const char *name, const char *text)
{
    struct archive_entry *entry = archive_entry_new();

    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, strcmp(name, "init") == 0 ? 0755 : 0644);
    archive_entry_set_size(entry, (int64_t)strlen(text));
    assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
    assert_int_equal(archive_write_data(archive, text, strlen(text)), strlen(text));
    archive_entry_free(entry);
}

static void write_initramfs(const struct stage *stage)
{
    cleanup_free char *path = in_stage(stage, "data/initramfs.cpio");
    struct archive *archive = archive_write_new();

    archive_write_set_format_cpio_newc(archive);
    assert_int_equal(archive_write_open_filename(archive, path), ARCHIVE_OK);
    add_to_initramfs(archive, "init", "agent");
    add_to_initramfs(archive, "modules/x.ko", "module");
    add_to_initramfs(archive, "zygote/leave.py", "leave");
    add_to_initramfs(archive, "zygote/sitecustomize.py", "customize");
    assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
    archive_write_free(archive);
}

static int setup(void **state)
{
    struct stage *stage = calloc(1, sizeof *stage);
    cleanup_free char *bin = NULL;
    char *cache;

    assert_non_null(stage);
    fixture_setup((void **)&stage->fixture);
    assert_int_equal(fvm_cache_open(stage->fixture->cache, &cache, NULL), 0);
    free(cache);
    stage->own_path = strdup(getenv("PATH"));
    stage->host = (struct fvm_host){
        .data_dir = stage->fixture->data_dir,
        .libexec_dir = getenv("FLASHVM_LIBEXEC_DIR"),
        .cache_dir = stage->fixture->cache,
    };
    bin = in_stage(stage, "bin");
    assert_int_equal(mkdir(bin, 0755), 0);
    install(stage, "bin/krunvm", krunvm_script);
    install(stage, "bin/buildah", buildah_script);
    setenv("PATH", bin, 1);
    write_initramfs(stage);
    *state = stage;
    return 0;
}

static int teardown(void **state)
{
    struct stage *stage = *state;
    void *fixture = stage->fixture;

    setenv("PATH", stage->own_path, 1);
    free(stage->own_path);
    fvm_image_finish(&stage->image);
    fixture_teardown(&fixture);
    free(stage);
    return 0;
}

/* Make the image ready, of which buildah says that it is in its storage. */
static void have_image(struct stage *stage, struct tar *tar)
{
    struct fixture *fixture = stage->fixture;
    struct fvm_caller nobody = FVM_CALLER_NONE;
    cleanup_oci struct fvm_oci oci = {.fd = -1};
    cleanup_oci_image struct fvm_oci_image image = {0};
    struct fvm_descriptor manifest;
    cleanup_free char *list = NULL;

    tar_bytes(tar, "usr/bin/python3", "#!", 2, 0755);
    fixture_add_layer(fixture, tar, PLAIN);
    fixture_write_layout(fixture);
    assert_success(fvm_image_prepare(fixture->data_dir, fixture->cache, NULL, &nobody,
                                     &stage->image, &fixture->error),
                   &fixture->error);
    assert_success(fvm_oci_open(fixture->layout, &oci, &fixture->error), &fixture->error);
    assert_success(fvm_oci_find(&oci, NULL, NULL, &manifest, &fixture->error), &fixture->error);
    assert_success(fvm_oci_load(&oci, &manifest, &image, &fixture->error), &fixture->error);
    list = fvm_format("[{\"id\": \"%s\", \"names\": [\"" EMBEDDED "\"], \"digest\": \"%s\"}]",
                      image.config_digest, manifest.digest);
    write_stage(stage, "images", list);
    write_stage(stage, "log", "");
}

static void have_plain_image(struct stage *stage)
{
    struct tar tar;

    tar_begin(&tar);
    tar_directory(&tar, "etc", 0755);
    tar_file(&tar, "etc/resolv.conf", "");
    have_image(stage, &tar);
}

static int boot(struct stage *stage, struct fvm_caller *caller, struct fvm_vm *ret_vm)
{
    const struct fvm_vm_spec spec = {
        .accelerator = "kvm",
        .cpus = 2,
        .memory_mb = 300,
        .image = &stage->image,
        .rootfs_fd = stage->image.rootfs_fd,
        .memory_fd = -1,
    };
    struct fvm_caller nobody = FVM_CALLER_NONE;

    return fvm_engine_krunvm.boot(&stage->host, &spec, caller ? caller : &nobody, ret_vm,
                                  &stage->fixture->error);
}

/* Boot, and wait until krunvm is told to start. */
static void must_boot(struct stage *stage, struct fvm_vm *ret_vm)
{
    char text[16] = "";

    assert_success(boot(stage, NULL, ret_vm), &stage->fixture->error);
    assert_int_equal(poll(&(struct pollfd){.fd = ret_vm->channel_fd, .events = POLLIN}, 1, 20000),
                     1);
    assert_true(read(ret_vm->channel_fd, text, sizeof text - 1) > 0);
    assert_string_equal(text, "started\n");
}

/* The calls since the last time; NAME and CACHE are what they say. */
static char *take_log(const struct stage *stage)
{
    cleanup_free char *path = in_stage(stage, "log");
    char *log = NULL;
    const char *const hidden[] = {stage->fixture->cache, "CACHE"};

    assert_int_equal(fvm_read_file(path, 1 << 16, &log, NULL, NULL), 0);
    for (char *found; (found = strstr(log, hidden[0])) != NULL;) {
        memcpy(found, hidden[1], 5);
        memmove(found + 5, found + strlen(hidden[0]), strlen(found + strlen(hidden[0])) + 1);
    }
    for (char *found; (found = strstr(log, "flashvm-")) != NULL;) {
        memcpy(found, "NAME", 4);
        memmove(found + 4, found + 24, strlen(found + 24) + 1);
    }
    write_stage(stage, "log", "");
    return log;
}

static unsigned count_left(const struct stage *stage)
{
    cleanup_free char *path = in_stage(stage, "cache/krunvm");
    cleanup_dir DIR *directory = opendir(path);
    unsigned count = 0;

    for (const struct dirent *entry; directory && (entry = readdir(directory));)
        count += entry->d_name[0] != '.';
    return count;
}

#define CREATE                                                                                     \
    "krunvm create --cpus 2 --mem 300 -v CACHE/krunvm/NAME/volume:/flashvm -w /flashvm "           \
    "--name NAME "

#define DELETE "krunvm delete NAME\n"

static void each_run_has_a_vm_of_its_own_which_goes_with_it(void **state)
{
    struct stage *stage = *state;
    struct fvm_vm vm = FVM_VM_NONE;
    cleanup_free char *begun = NULL, *ended = NULL;

    if (!is_root())
        return; /* another user goes through "buildah unshare", which is tested in the lab */
    have_plain_image(stage);
    setenv("_CONTAINERS_USERNS_CONFIGURED", "done", 1); /* as within "buildah unshare" */
    must_boot(stage, &vm);
    unsetenv("_CONTAINERS_USERNS_CONFIGURED");
    begun = take_log(stage);
    /* By its ID: a name could be another image's by now, or be pulled. */
    assert_memory_equal(begun, CREATE, strlen(CREATE));
    assert_int_equal(strspn(begun + strlen(CREATE), "0123456789abcdef"), 64);
    assert_string_equal(begun + strlen(CREATE) + 64,
                        "\nagent zygote zygote/leave.py zygote/sitecustomize.py\n"
                        "krunvm start NAME /flashvm/agent\nconfig done\n");
    assert_int_equal(count_left(stage), 2); /* its directory, its lock */
    fvm_vm_destroy(&vm);
    ended = take_log(stage);
    assert_string_equal(ended, DELETE);
    assert_int_equal(count_left(stage), 0);
}

static void what_krunvm_says_when_it_fails_is_the_error(void **state)
{
    struct stage *stage = *state;
    struct fvm_vm vm = FVM_VM_NONE;

    if (!is_root())
        return;
    have_plain_image(stage);
    write_stage(stage, "fail-create", "buildah returned an error: no space\n");
    assert_failure(boot(stage, NULL, &vm), &stage->fixture->error, FLASHVM_IO,
                   "failed with exit code 255: buildah returned an error: no space");
    assert_int_equal(vm.control_fd, -1);
    assert_int_equal(count_left(stage), 0);
}

/* They would be written to on the host, as root. */
static void an_image_whose_links_lead_krunvm_elsewhere_is_refused(void **state)
{
    static const char *const links[][3] = {
        {"etc/resolv.conf", "/etc/passwd", "/etc/resolv.conf is no regular file"},
        {"etc", "/srv", "/etc is no directory"},
        {".krunvm.lock", "/etc/passwd", "/.krunvm.lock is no regular file"},
        {"flashvm", "/root", "/flashvm is no directory"},
    };

    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        struct stage *stage;
        struct fvm_vm vm = FVM_VM_NONE;
        cleanup_free char *log = NULL;
        struct tar tar;

        if (i > 0) {
            teardown(state);
            setup(state);
        }
        stage = *state;
        tar_begin(&tar);
        tar_symlink(&tar, links[i][0], links[i][1]);
        have_image(stage, &tar);
        assert_failure(boot(stage, NULL, &vm), &stage->fixture->error, FLASHVM_UNSUPPORTED,
                       links[i][2]);
        log = take_log(stage);
        assert_string_equal(log, ""); /* krunvm was not called */
    }
}

static void an_image_without_these_paths_will_do(void **state)
{
    struct stage *stage = *state;
    struct fvm_vm vm = FVM_VM_NONE;
    struct tar tar;

    if (!is_root())
        return;
    tar_begin(&tar);
    have_image(stage, &tar);
    must_boot(stage, &vm);
    fvm_vm_destroy(&vm);
}

/* The next run finds what a killed caller has left, and leaves alone what is in use. */
static void leavings_of_the_dead_are_removed_and_nothing_else(void **state)
{
    struct stage *stage = *state;
    struct fvm_vm first = FVM_VM_NONE, second = FVM_VM_NONE;
    cleanup_free char *log = NULL, *dead = in_stage(stage, "cache/krunvm/flashvm-0123456789abcdef");
    cleanup_free char *alien = in_stage(stage, "cache/krunvm/something-else.lock");

    if (!is_root())
        return;
    have_plain_image(stage);
    must_boot(stage, &first);
    assert_int_equal(mkdir(dead, 0700), 0);
    write_stage(stage, "cache/krunvm/flashvm-0123456789abcdef.lock", "");
    write_stage(stage, "cache/krunvm/flashvm-0123456789abcdef/file", "");
    write_text(alien, "");
    free(take_log(stage));
    must_boot(stage, &second);
    log = take_log(stage);
    assert_memory_equal(log, DELETE CREATE, strlen(DELETE CREATE));
    assert_null(strstr(log + strlen(DELETE), "delete"));
    assert_int_equal(access(dead, F_OK), -1);
    assert_int_equal(access(alien, F_OK), 0);
    assert_int_equal(count_left(stage), 5); /* of the two that run, and the alien */
    fvm_vm_destroy(&first);
    fvm_vm_destroy(&second);
    assert_int_equal(count_left(stage), 1);
}

static void they_can_be_removed_without_a_run(void **state)
{
    struct stage *stage = *state;
    cleanup_free char *directory = in_stage(stage, "cache/krunvm"), *log = NULL;

    if (!is_root())
        return;
    assert_int_equal(mkdir(directory, 0700), 0);
    write_stage(stage, "cache/krunvm/flashvm-0123456789abcdef.lock", "");
    fvm_engine_krunvm.sweep(&stage->host);
    log = take_log(stage);
    assert_string_equal(log, DELETE);
    assert_int_equal(count_left(stage), 0);
}

static void a_vm_that_is_forgotten_by_a_fork_is_not_deleted(void **state)
{
    struct stage *stage = *state;
    struct fvm_vm vm = FVM_VM_NONE;
    cleanup_free char *log = NULL;

    if (!is_root())
        return;
    have_plain_image(stage);
    must_boot(stage, &vm);
    free(take_log(stage));
    fvm_vm_forget(&vm);
    log = take_log(stage);
    assert_string_equal(log, "");
    assert_int_equal(count_left(stage), 2);
}

static bool wants_the_end(void *data)
{
    const struct stage *stage = data;
    cleanup_free char *hang = in_stage(stage, "hang");

    if (!is_there(stage, "hangs"))
        return false;
    unlink(hang); /* it can go on, and must */
    return true;
}

static void a_call_that_is_cancelled_leaves_no_container(void **state)
{
    struct stage *stage = *state;
    struct fvm_caller caller = {
        .interrupt_fd = -1, .interrupted = wants_the_end, .interrupted_data = stage};
    struct fvm_vm vm = FVM_VM_NONE;
    cleanup_free char *log = NULL;

    if (!is_root())
        return;
    have_plain_image(stage);
    write_stage(stage, "hang", "");
    assert_failure(boot(stage, &caller, &vm), &stage->fixture->error, FLASHVM_CANCELLED,
                   "cancelled");
    log = take_log(stage);
    assert_non_null(strstr(log, DELETE));
    assert_int_equal(count_left(stage), 0);
}

static void without_its_programs_it_says_which_is_missing(void **state)
{
    struct stage *stage = *state;
    cleanup_free char *krunvm = in_stage(stage, "bin/krunvm");
    cleanup_free char *buildah = in_stage(stage, "bin/buildah");
    struct fvm_probe probe = {0};

    stage->host.kvm = (struct fvm_kvm){.known = true, .usable = true};
    assert_int_equal(rename(buildah, krunvm), 0);
    assert_success(fvm_engine_krunvm.probe(&stage->host, &probe, &stage->fixture->error),
                   &stage->fixture->error);
    assert_false(probe.usable);
    assert_string_equal(probe.reason, "there is no buildah on PATH");
    fvm_probe_finish(&probe);
    assert_int_equal(unlink(krunvm), 0);
    assert_success(fvm_engine_krunvm.probe(&stage->host, &probe, &stage->fixture->error),
                   &stage->fixture->error);
    assert_string_equal(probe.reason, "there is no krunvm on PATH");
    fvm_probe_finish(&probe);
}

static void without_kvm_it_says_why(void **state)
{
    struct stage *stage = *state;
    struct fvm_probe probe = {0};

    stage->host.kvm = (struct fvm_kvm){.known = true, .reason = "the moon is full"};
    assert_success(fvm_engine_krunvm.probe(&stage->host, &probe, &stage->fixture->error),
                   &stage->fixture->error);
    assert_false(probe.usable);
    assert_non_null(strstr(probe.reason, "the moon is full"));
    fvm_probe_finish(&probe);
}

#define krunvm_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        krunvm_test(each_run_has_a_vm_of_its_own_which_goes_with_it),
        krunvm_test(what_krunvm_says_when_it_fails_is_the_error),
        krunvm_test(an_image_whose_links_lead_krunvm_elsewhere_is_refused),
        krunvm_test(an_image_without_these_paths_will_do),
        krunvm_test(leavings_of_the_dead_are_removed_and_nothing_else),
        krunvm_test(they_can_be_removed_without_a_run),
        krunvm_test(a_vm_that_is_forgotten_by_a_fork_is_not_deleted),
        krunvm_test(a_call_that_is_cancelled_leaves_no_container),
        krunvm_test(without_its_programs_it_says_which_is_missing),
        krunvm_test(without_kvm_it_says_why),
    };

    return cmocka_run_group_tests_name("krunvm", tests, NULL, NULL);
}
