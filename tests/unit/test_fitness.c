/* SPDX-License-Identifier: MIT */
/* Which interpreter of an image is used, and which images are refused before a VM boots. */
#include "image_fixture.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "base/json.h"

/* Several interpreters, and things that are none. */
static void add_programs(struct fixture *fixture)
{
    struct tar tar;

    tar_begin(&tar);
    tar_bytes(&tar, "usr/bin/python3.13", "elf", 3, 0755);
    tar_symlink(&tar, "usr/bin/python3", "python3.13");
    tar_symlink(&tar, "bin", "usr/bin");
    tar_bytes(&tar, "usr/bin/tini", "elf", 3, 0755);
    tar_bytes(&tar, "usr/local/bin/python", "elf", 3, 0755);
    tar_bytes(&tar, "srv/app/bin/python3", "elf", 3, 0755);
    tar_symlink(&tar, "opt/venv/bin/python", "/usr/bin/python3");
    tar_symlink(&tar, "opt/loop/python3", "python3");
    tar_symlink(&tar, "opt/broken/python3", "nowhere");
    tar_bytes(&tar, "opt/text/python3", "no program", 10, 0644);
    tar_directory(&tar, "opt/directory/python3", 0755);
    fixture_add_layer(fixture, &tar, GZIP);
}

/* Flatten the layers with this config (JSON). Return: 0 or -1. */
static int build(struct fixture *fixture, const char *config, char **ret_python)
{
    cleanup_oci struct fvm_oci oci = {.fd = -1};
    cleanup_oci_image struct fvm_oci_image image = {0};
    cleanup_close int fd = open(fixture->rootfs, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    cleanup_json json_t *json = json_loads(config, 0, NULL);
    struct fvm_descriptor manifest;

    assert_non_null(json);
    fixture_write_layout(fixture);
    assert_int_equal(fvm_oci_open(fixture->layout, &oci, &fixture->error), 0);
    assert_int_equal(fvm_oci_find(&oci, NULL, NULL, &manifest, &fixture->error), 0);
    assert_int_equal(fvm_oci_load(&oci, &manifest, &image, &fixture->error), 0);
    fvm_image_config_finish(&image.config);
    if (fvm_image_config_from_json(json, &image.config, &fixture->error) < 0)
        return -1;
    return fvm_rootfs_write(&oci, &image, fd, NULL, ret_python, &fixture->error);
}

static void the_interpreter_that_the_config_starts_is_used(void **state)
{
    static const struct {
        const char *config, *python;
    } cases[] = {
        {"{}", "/usr/bin/python3"},
        {"{\"Cmd\": [\"python3\"]}", "/usr/bin/python3"},
        {"{\"Cmd\": [\"python3.13\", \"-q\"]}", "/usr/bin/python3.13"},
        {"{\"Cmd\": [\"python\"]}", "/usr/local/bin/python"},
        {"{\"Cmd\": [\"/opt/venv/bin/python\"]}", "/opt/venv/bin/python"},
        {"{\"Entrypoint\": [\"/bin/python3\"], \"Cmd\": [\"app.py\"]}", "/bin/python3"},
        {"{\"Entrypoint\": [], \"Cmd\": [\"python\"]}", "/usr/local/bin/python"},
        {"{\"Entrypoint\": null, \"Cmd\": [\"python\"]}", "/usr/local/bin/python"},
        {"{\"Cmd\": [\"bin/python3\"], \"WorkingDir\": \"srv/app\"}", "/srv/app/bin/python3"},
        {"{\"Env\": [\"PATH=/opt/venv/bin:/bin\"], \"Cmd\": [\"python\"]}", "/opt/venv/bin/python"},
        /* not an interpreter: it is not what the snippet needs */
        {"{\"Entrypoint\": [\"tini\", \"--\"], \"Cmd\": [\"python\"]}", "/usr/bin/python3"},
        {"{\"Cmd\": [\"/bin/sh\", \"-c\", \"python\"]}", "/usr/bin/python3"},
        {"{\"Cmd\": [\"python3.x\"]}", "/usr/bin/python3"},
        {"{\"Cmd\": [\"python3-config\"]}", "/usr/bin/python3"},
        {"{\"Cmd\": [\"pythonw\"]}", "/usr/bin/python3"},
        {"{\"Env\": "
         "[\"PATH=/none::relative:/opt/loop:/opt/broken:/opt/text:/opt/directory:/bin\"]}",
         "/bin/python3"},
        {"{\"Env\": [\"PATH=/opt/text\", \"PATH=/bin\"]}", "/bin/python3"},
    };
    struct fixture *fixture = *state;

    add_programs(fixture);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cleanup_free char *python = NULL;

        if (build(fixture, cases[i].config, &python) < 0)
            fail_msg("%s: %s", cases[i].config, fixture->error.message);
        if (strcmp(python, cases[i].python) != 0)
            fail_msg("%s: %s", cases[i].config, python);
    }
}

static void an_image_without_it_is_refused(void **state)
{
    static const struct {
        const char *config, *message;
    } cases[] = {
        {"{\"Env\": [\"PATH=/opt:/none\"]}",
         "it has no Python: there is no python3 on its PATH (/opt:/none)"},
        {"{\"Env\": [\"PATH=relative:/opt:/opt/text:/opt/loop\"]}",
         "it has no Python: /opt/text/python3 is no executable file, and no symlink to one in the "
         "image"},
        {"{\"Env\": [\"PATH=/opt/loop:/opt/text\"]}", "it has no Python: /opt/loop/python3 is no"},
        {"{\"Env\": [\"PATH=/opt/broken\"]}", "it has no Python: /opt/broken/python3 is no"},
        {"{\"Env\": [\"PATH=/opt/directory\"]}", "it has no Python: /opt/directory/python3 is no"},
        {"{\"Cmd\": [\"python3.9\"]}",
         "its config starts \"python3.9\", which is no program in it"},
        {"{\"Cmd\": [\"/opt/text/python3\"]}", "its config starts \"/opt/text/python3\""},
        {"{\"Cmd\": [\"../../../../python3\"]}", "its config starts \"../../../../python3\""},
    };
    struct fixture *fixture = *state;

    add_programs(fixture);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *python = NULL;

        assert_int_equal(build(fixture, cases[i].config, &python), -1);
        assert_error(fixture, FLASHVM_IMAGE_INVALID, cases[i].message);
        assert_null(python);
    }
}

static void a_config_that_makes_no_sense_is_refused(void **state)
{
    static const struct {
        const char *config, *message;
    } cases[] = {
        {"{\"Cmd\": \"python3\"}", "\"Cmd\" is not an array"},
        {"{\"Entrypoint\": {}}", "\"Entrypoint\" is not an array"},
        {"{\"WorkingDir\": []}", "\"WorkingDir\" is not a string"},
        {"{\"User\": 1000}", "\"User\" is not a string"},
    };
    struct fixture *fixture = *state;
    cleanup_json json_t *many = json_array();
    struct fvm_image_config config;

    add_programs(fixture);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *python = NULL;

        assert_int_equal(build(fixture, cases[i].config, &python), -1);
        assert_error(fixture, FLASHVM_IMAGE_INVALID, cases[i].message);
    }
    for (int i = 0; i <= 4000; i++)
        json_array_append_new(many, json_string("A=b"));
    {
        cleanup_json json_t *json = json_pack("{s:O}", "Env", many);

        assert_int_equal(fvm_image_config_from_json(json, &config, &fixture->error), -1);
        assert_error(fixture, FLASHVM_IMAGE_INVALID, "4001 entries, the limit is 4000");
    }
}

/* A symlink there would lead the agent, which is root, to where the image likes. */
static void what_the_guest_mounts_on_must_be_a_directory(void **state)
{
    static const char *const names[] = {"dev", "proc", "run", "sys", "tmp", "work"};
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cleanup_free char *message = fvm_format("its /%s is not a directory", names[i]);
        char *python = NULL;
        struct tar tar;

        fixture_forget_layers(fixture);
        add_programs(fixture);
        tar_begin(&tar);
        tar_symlink(&tar, names[i], "/etc");
        fixture_add_layer(fixture, &tar, GZIP);
        assert_int_equal(build(fixture, "{}", &python), -1);
        assert_error(fixture, FLASHVM_IMAGE_INVALID, message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(the_interpreter_that_the_config_starts_is_used),
        fixture_test(an_image_without_it_is_refused),
        fixture_test(a_config_that_makes_no_sense_is_refused),
        fixture_test(what_the_guest_mounts_on_must_be_a_directory),
    };

    return cmocka_run_group_tests_name("fitness", tests, NULL, NULL);
}
