/* SPDX-License-Identifier: MIT */
/* What a program in flashvm-jail may still do. */
#include "inmate.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "base/cleanup.h"

/* Return: what the program prints, to be freed. */
static char *output_of(struct fvm_vm_program program)
{
    struct inmate inmate;
    char *text;

    inmate_start(&inmate, program);
    text = inmate_read_all(inmate.vm.console_fd);
    inmate_finish(&inmate);
    return text;
}

static char *shell(const char *command)
{
    return output_of(
        (struct fvm_vm_program){.argv = (const char *const[]){"/bin/sh", "-c", command, NULL}});
}

/* Some containers have few user ids; there the jail makes do with nobody's. */
static bool has_id(const char *map_path, unsigned long id)
{
    cleanup_file FILE *map = fopen(map_path, "re");
    unsigned long inside, outside, count;

    while (map && fscanf(map, "%lu %lu %lu", &inside, &outside, &count) == 3)
        if (id >= inside && id - inside < count)
            return true;
    return false;
}

static void root_becomes_a_user_of_its_own(void **state)
{
    struct inmate first, second;
    cleanup_free char *first_ids = NULL, *second_ids = NULL;
    static const char ids[] = "echo $(id -u) $(id -g) $(id -G) $(grep ^Uid: /proc/$$/status)";
    unsigned long uid;

    (void)state;
    inmate_start_shell(&first, ids, NULL);
    inmate_start_shell(&second, ids, NULL);
    first_ids = inmate_read_all(first.vm.console_fd);
    second_ids = inmate_read_all(second.vm.console_fd);
    inmate_finish(&first);
    inmate_finish(&second);
    uid = strtoul(first_ids, NULL, 10);
    if (!is_root()) {
        assert_true(uid == geteuid() || uid == 65534); /* the latter in a user namespace */
    } else if (has_id("/proc/self/uid_map", 2100000000) &&
               has_id("/proc/self/gid_map", 2100000000)) {
        cleanup_free char *expected =
            fvm_format("%lu %lu %lu Uid: %lu %lu %lu %lu\n", uid, uid, uid, uid, uid, uid, uid);

        assert_string_equal(first_ids, expected); /* real, effective, saved, file system */
        assert_in_range(uid, 2000000000, 2100000000);
        assert_string_not_equal(first_ids, second_ids);
    } else {
        assert_int_equal(uid, 65534);
    }
}

/* Whether the jail can do so, too, depends on the host: a container may forbid it. */
static bool may(bool (*attempt)(void))
{
    pid_t child = fork();
    int status;

    if (child == 0)
        _exit(!attempt());
    assert_int_equal(waitpid(child, &status, 0), child);
    return status == 0;
}

static bool leave_network(void)
{
    return unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
                   (is_root() ? CLONE_NEWNS : CLONE_NEWUSER)) == 0;
}

static bool replace_devices(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("dev", "/dev", "tmpfs", 0, NULL) == 0 &&
           mknod("/dev/null", S_IFCHR | 0600, makedev(1, 3)) == 0;
}

static char *list_devices(const char *device)
{
    return output_of((struct fvm_vm_program){
        .argv =
            (const char *const[]){"/bin/sh", "-c",
                                  "echo /dev/*; test -e /dev/full && head -c 3 /dev/full | wc -c",
                                  NULL},
        .device = device,
    });
}

static void there_are_only_the_devices_that_are_needed(void **state)
{
    cleanup_free char *without = list_devices(NULL), *with = list_devices("/dev/full");

    (void)state;
    if (is_root() && may(replace_devices)) {
        assert_string_equal(without, "/dev/null /dev/urandom /dev/zero\n");
        assert_string_equal(with, "/dev/full /dev/null /dev/urandom /dev/zero\n3\n");
    } else {
        assert_non_null(strstr(with, " /dev/null "));
        assert_non_null(strstr(with, "\n3\n"));
    }
}

static void a_device_that_is_missing_is_said_in_the_log(void **state)
{
    struct inmate inmate;
    cleanup_free char *log = NULL;

    (void)state;
    inmate_start(&inmate, (struct fvm_vm_program){.argv = (const char *const[]){"/bin/true", NULL},
                                                  .device = "/dev/flashvm-none"});
    log = inmate_read_all(inmate.vm.log_fd);
    inmate_finish(&inmate);
    if (is_root() && may(replace_devices))
        assert_string_equal(log, "flashvm-jail: cannot find the device that the VM needs: No such "
                                 "file or directory\n");
}

static void assert_line(const char *text, const char *line)
{
    if (strstr(text, line) == NULL)
        fail_msg("there is no \"%s\" in: %s", line, text);
}

static void no_privilege_is_left_and_none_can_be_gained(void **state)
{
    cleanup_free char *status = shell("cat /proc/$$/status");

    (void)state;
    assert_line(status, "NoNewPrivs:\t1\n");
    assert_line(status, "CapEff:\t0000000000000000\n");
    assert_line(status, "CapPrm:\t0000000000000000\n");
    assert_line(status, "CapInh:\t0000000000000000\n");
    assert_line(status, "CapAmb:\t0000000000000000\n");
}

static void limits_are_hard(void **state)
{
    cleanup_free char *limits = output_of((struct fvm_vm_program){
        .argv = (const char *const[]){"/bin/sh", "-c", "cat /proc/$$/limits", NULL},
        .memory_bytes_max = 1 << 30,
    });
    cleanup_free char *unlimited = shell("ulimit -H -v");

    (void)state;
    assert_line(limits, "Max core file size        0                    0");
    assert_line(limits, "Max file size             0                    0");
    assert_line(limits, "Max open files            256                  256");
    assert_line(limits, "Max locked memory         0                    0");
    assert_line(limits, "Max address space         1073741824           1073741824");
    assert_string_equal(unlimited, "unlimited\n");
}

static void no_file_can_be_written(void **state)
{
    cleanup_free char *text =
        shell("file=$(mktemp) && (echo x >$file) 2>/dev/null; wc -c <$file; rm $file");

    (void)state;
    assert_string_equal(text, "0\n");
}

static void there_is_no_network_but_a_loopback_that_is_down(void **state)
{
    cleanup_free char *interfaces = shell("tail -n +3 /proc/$$/net/dev | cut -d: -f1");
    cleanup_free char *routes = shell("tail -n +2 /proc/$$/net/route");

    (void)state;
    if (!may(leave_network)) {
        print_message("this host lets nobody leave its network\n");
        assert_non_null(interfaces);
        return;
    }
    assert_string_equal(interfaces, "    lo\n");
    assert_string_equal(routes, "");
}

static void only_given_descriptors_are_open(void **state)
{
    int low = open("/dev/zero", O_RDONLY), high = fcntl(low, F_DUPFD, 200); /* not O_CLOEXEC */
    cleanup_free char *text = NULL;

    (void)state;
    text = output_of((struct fvm_vm_program){
        .argv = (const char *const[]){
            "/usr/bin/python3", "-IS", "-c",
            ("import os\n"
             "for n in range(1000):\n"
             "    try: print(n, "
             "os.path.basename(os.readlink(f'/proc/self/fd/{n}')).split(':')[0])\n"
             "    except OSError: pass\n"),
            NULL}});
    assert_string_equal(text, "0 null\n1 pipe\n2 pipe\n4 socket\n5 socket\n6 pipe\n");
    close(low);
    close(high);
}

static void the_environment_is_not_the_callers(void **state)
{
    cleanup_free char *text = NULL;

    (void)state;
    setenv("SECRET", "x", 1);
    text = shell("tr '\\0' '\\n' </proc/$$/environ | cut -d= -f1");
    assert_string_equal(text, "PATH\n");
}

static void channel_and_log_reach_the_program(void **state)
{
    cleanup_free char *log = NULL;
    struct inmate inmate;
    char reply[4];

    (void)state;
    inmate_start_shell(&inmate, "read line <&4; echo \"got $line\" >&2; printf four >&4", NULL);
    assert_int_equal(send(inmate.vm.channel_fd, "hello\n", 6, 0), 6);
    log = inmate_read_all(inmate.vm.log_fd);
    assert_string_equal(log, "got hello\n");
    assert_int_equal(recv(inmate.vm.channel_fd, reply, 4, MSG_WAITALL), 4);
    assert_memory_equal(reply, "four", 4);
    inmate_finish(&inmate);
}

static void the_monitor_reaches_the_program_too(void **state)
{
    struct inmate inmate;
    char reply[4];

    (void)state;
    inmate_start_shell(&inmate, "read line <&5; printf five >&5", NULL);
    assert_int_equal(send(inmate.vm.monitor_fd, "hello\n", 6, 0), 6);
    assert_true(happens(inmate.vm.monitor_fd));
    assert_int_equal(recv(inmate.vm.monitor_fd, reply, 4, MSG_WAITALL), 4);
    assert_memory_equal(reply, "five", 4);
    inmate_finish(&inmate);
}

static void a_program_that_is_missing_is_named_in_the_log(void **state)
{
    struct inmate inmate;
    cleanup_free char *log = NULL;

    (void)state;
    inmate_start(&inmate,
                 (struct fvm_vm_program){.argv = (const char *const[]){"/nonexistent/qemu", NULL}});
    log = inmate_read_all(inmate.vm.log_fd);
    assert_string_equal(log, "flashvm-jail: /nonexistent/qemu: No such file or directory\n");
    inmate_finish(&inmate);
}

/* ---- a program that keeps its rights ---- */

static void has_rights(struct fvm_vm_program *program)
{
    static const char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "MORE=1", NULL};

    program->keeps_rights = true;
    program->environment = environment;
}

/* Return: what a shell prints that may make mounts, to be freed. */
static char *shell_with_rights(const char *command)
{
    struct fvm_vm_program program = {
        .argv = (const char *const[]){"/bin/sh", "-c", command, NULL},
    };
    struct inmate inmate;
    char *text;

    has_rights(&program);
    inmate_start(&inmate, program);
    text = inmate_read_all(inmate.vm.channel_fd);
    fvm_vm_destroy(&inmate.vm);
    close(inmate.alive_fd);
    return text;
}

static void with_rights_it_is_who_it_was_in_namespaces_of_its_own(void **state)
{
    cleanup_free char *text = NULL;

    (void)state;
    if (!is_root() || !may(leave_network))
        return; /* nobody else could keep any; see a_program_that_cannot_... */
    text = shell_with_rights("echo $$ $(id -u) $MORE; grep -c : /proc/net/dev;"
                             " ls /proc/self/fd | wc -l");
    assert_string_equal(text, "1 0 1\n1\n4\n"); /* a loopback; 0, 1, 2, and ls's own */
}

static void its_mounts_are_its_own(void **state)
{
    cleanup_free char *text = NULL;
    char *directory, *script;

    (void)state;
    if (!is_root() || !may(leave_network))
        return;
    directory = make_own_tmpdir();
    script = fvm_format("mount -t tmpfs none %s && echo secret >%s/file && cat %s/file", directory,
                        directory, directory);
    text = shell_with_rights(script);
    assert_string_equal(text, "secret\n");
    assert_int_equal(rmdir(directory), 0); /* neither mounted nor written to */
    assert_int_equal(mkdir(directory, 0700), 0);
    free(script);
    remove_own_tmpdir(directory);
}

static void it_cannot_gain_what_it_has_not(void **state)
{
    cleanup_free char *text = NULL;

    (void)state;
    if (!is_root() || !may(leave_network))
        return;
    text = shell_with_rights("grep NoNewPrivs /proc/self/status; ulimit -c");
    assert_string_equal(text, "NoNewPrivs:\t1\n0\n");
}

static void without_namespaces_it_is_not_started(void **state)
{
    struct fvm_vm_program program = {
        .argv = (const char *const[]){"/bin/echo", "started", NULL},
    };
    struct inmate inmate;
    cleanup_free char *text = NULL, *log = NULL;

    (void)state;
    if (is_root() && may(leave_network))
        return; /* tests/e2e runs this as an ordinary user */
    has_rights(&program);
    inmate_start(&inmate, program);
    text = inmate_read_all(inmate.vm.channel_fd);
    log = inmate_read_all(inmate.vm.log_fd);
    fvm_vm_destroy(&inmate.vm);
    close(inmate.alive_fd);
    assert_string_equal(text, "");
    assert_non_null(strstr(log, "flashvm-jail: "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(root_becomes_a_user_of_its_own),
        cmocka_unit_test(there_are_only_the_devices_that_are_needed),
        cmocka_unit_test(a_device_that_is_missing_is_said_in_the_log),
        cmocka_unit_test(no_privilege_is_left_and_none_can_be_gained),
        cmocka_unit_test(limits_are_hard),
        cmocka_unit_test(no_file_can_be_written),
        cmocka_unit_test(there_is_no_network_but_a_loopback_that_is_down),
        cmocka_unit_test(only_given_descriptors_are_open),
        cmocka_unit_test(the_environment_is_not_the_callers),
        cmocka_unit_test(channel_and_log_reach_the_program),
        cmocka_unit_test(the_monitor_reaches_the_program_too),
        cmocka_unit_test(a_program_that_is_missing_is_named_in_the_log),
        cmocka_unit_test(with_rights_it_is_who_it_was_in_namespaces_of_its_own),
        cmocka_unit_test(its_mounts_are_its_own),
        cmocka_unit_test(it_cannot_gain_what_it_has_not),
        cmocka_unit_test(without_namespaces_it_is_not_started),
    };

    return cmocka_run_group_tests_name("jail", tests, NULL, NULL);
}
