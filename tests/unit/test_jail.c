/* SPDX-License-Identifier: MIT */
/*
 * flashvm-jail, as built, around small programs in place of QEMU: what they may still do, and that
 * they end with their caller, however that happens. FLASHVM_LIBEXEC_DIR says where the jail is.
 */
#include "assertions.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "engine/vm_process.h"

/* A program in a jail. */
struct inmate {
    struct fvm_vm vm;
    int alive_fd; /* at its end when the program has ended: it holds the other end as number 5 */
};

static void start(struct inmate *inmate, struct fvm_vm_program program)
{
    const struct fvm_host host = {.libexec_dir = getenv("FLASHVM_LIBEXEC_DIR")};
    struct flashvm_error error = {0};
    int alive[2];

    assert_non_null(host.libexec_dir);
    assert_int_equal(pipe2(alive, O_CLOEXEC), 0);
    program.files = &alive[1];
    program.file_count = 1;
    assert_success(fvm_vm_process_start(&host, &program, &inmate->vm, &error), &error);
    close(alive[1]);
    inmate->alive_fd = alive[0];
}

static void start_shell(struct inmate *inmate, const char *command, const char *scratch_dir)
{
    start(inmate, (struct fvm_vm_program){
                      .argv = (const char *const[]){"/bin/sh", "-c", command, NULL},
                      .scratch_dir = scratch_dir,
                  });
}

/* Wait for an event, 20 s at most. */
static bool happens(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    return poll(&wait, 1, 20000) == 1;
}

/* Read a descriptor of the VM to its end. To be freed. */
static char *read_all(int fd)
{
    struct fvm_buffer text = {0};
    char chunk[4096];
    ssize_t count = -1;

    while (count != 0) {
        if (!happens(fd))
            fail_msg("the program does not end");
        count = read(fd, chunk, sizeof chunk);
        if (count > 0)
            fvm_buffer_append(&text, chunk, (size_t)count);
    }
    fvm_buffer_append(&text, "", 0);
    return text.data;
}

/* The program's own end, and that of the jail. */
static void assert_ends(struct inmate *inmate)
{
    char byte;

    assert_true(happens(inmate->alive_fd));
    assert_int_equal(read(inmate->alive_fd, &byte, 1), 0);
    close(inmate->alive_fd);
}

static void finish(struct inmate *inmate)
{
    fvm_vm_destroy(&inmate->vm);
    assert_ends(inmate);
}

/* Return: what the program prints, to be freed. */
static char *output_of(struct fvm_vm_program program)
{
    struct inmate inmate;
    char *text;

    start(&inmate, program);
    text = read_all(inmate.vm.console_fd);
    finish(&inmate);
    return text;
}

static char *shell(const char *command)
{
    return output_of(
        (struct fvm_vm_program){.argv = (const char *const[]){"/bin/sh", "-c", command, NULL}});
}

/* ---- what the program may do ----------------------------------------------------------------- */

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
    start_shell(&first, ids, NULL);
    start_shell(&second, ids, NULL);
    first_ids = read_all(first.vm.console_fd);
    second_ids = read_all(second.vm.console_fd);
    finish(&first);
    finish(&second);
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
    start(&inmate, (struct fvm_vm_program){.argv = (const char *const[]){"/bin/true", NULL},
                                           .device = "/dev/flashvm-none"});
    log = read_all(inmate.vm.log_fd);
    finish(&inmate);
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
            "import os\n"
            "for n in range(1000):\n"
            "    try: print(n, os.readlink(f'/proc/self/fd/{n}').split(':')[0])\n"
            "    except OSError: pass\n",
            NULL}});
    assert_string_equal(text, "0 /dev/null\n1 pipe\n2 pipe\n4 socket\n5 pipe\n");
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
    start_shell(&inmate, "read line <&4; echo \"got $line\" >&2; printf four >&4", NULL);
    assert_int_equal(send(inmate.vm.channel_fd, "hello\n", 6, 0), 6);
    log = read_all(inmate.vm.log_fd);
    assert_string_equal(log, "got hello\n");
    assert_int_equal(recv(inmate.vm.channel_fd, reply, 4, MSG_WAITALL), 4);
    assert_memory_equal(reply, "four", 4);
    finish(&inmate);
}

static void a_program_that_is_missing_is_named_in_the_log(void **state)
{
    struct inmate inmate;
    cleanup_free char *log = NULL;

    (void)state;
    start(&inmate,
          (struct fvm_vm_program){.argv = (const char *const[]){"/nonexistent/qemu", NULL}});
    log = read_all(inmate.vm.log_fd);
    assert_string_equal(log, "flashvm-jail: /nonexistent/qemu: No such file or directory\n");
    finish(&inmate);
}

/* ---- how it ends ----------------------------------------------------------------------------- */

#define FOR_EVER "echo up; exec sleep 1000"

static void wait_until_up(const struct inmate *inmate)
{
    char line[3];

    assert_true(happens(inmate->vm.console_fd));
    assert_int_equal(read(inmate->vm.console_fd, line, 3), 3);
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* A directory with something in it. To be freed. */
static char *make_scratch_dir(void)
{
    char *path = fvm_format("%s/flashvm-unit-scratch-XXXXXX", getenv("TMPDIR") ?: "/tmp");
    cleanup_free char *inner = NULL;

    assert_non_null(mkdtemp(path));
    inner = fvm_format("%s/out", path);
    assert_int_equal(mkdir(inner, 0700), 0);
    return path;
}

/* Wait for the jail. It ended as it should. */
static void assert_jail_ends_well(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void destroying_ends_the_program_and_keeps_the_scratch_directory(void **state)
{
    cleanup_free char *scratch = make_scratch_dir();
    struct inmate inmate;

    (void)state;
    start_shell(&inmate, FOR_EVER, scratch);
    wait_until_up(&inmate);
    fvm_vm_destroy(&inmate.vm);
    assert_int_equal(inmate.vm.control_fd, -1);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* it was waited for */
    assert_ends(&inmate);
    assert_true(exists(scratch));
    fvm_remove_tree(scratch);
    fvm_vm_destroy(&inmate.vm); /* once more is nothing */
}

static void a_q_ends_the_program(void **state)
{
    struct inmate inmate;

    (void)state;
    start_shell(&inmate, FOR_EVER, NULL);
    wait_until_up(&inmate);
    assert_int_equal(send(inmate.vm.control_fd, "q", 1, 0), 1);
    assert_ends(&inmate);
    assert_jail_ends_well(inmate.vm.jail_pid);
    for (size_t i = 0; i < 4; i++)
        close((&inmate.vm.channel_fd)[i]);
}

static void the_end_of_the_control_socket_ends_the_program_and_its_scratch_directory(void **state)
{
    cleanup_free char *scratch = make_scratch_dir();
    struct inmate inmate;

    (void)state;
    start_shell(&inmate, FOR_EVER, scratch);
    wait_until_up(&inmate);
    for (size_t i = 0; i < 4; i++)
        close((&inmate.vm.channel_fd)[i]);
    assert_ends(&inmate);
    assert_jail_ends_well(inmate.vm.jail_pid);
    assert_false(exists(scratch));
}

static void the_end_of_the_program_is_the_end_of_the_control_socket(void **state)
{
    cleanup_free char *scratch = make_scratch_dir();
    struct inmate inmate;
    char byte;

    (void)state;
    start_shell(&inmate, "exit 3", scratch);
    assert_true(happens(inmate.vm.control_fd));
    assert_int_equal(recv(inmate.vm.control_fd, &byte, 1, 0), 0);
    assert_true(exists(scratch));
    finish(&inmate);
    fvm_remove_tree(scratch);
}

static void without_its_jail_the_program_ends(void **state)
{
    struct inmate inmate;

    (void)state;
    start_shell(&inmate, FOR_EVER, NULL);
    wait_until_up(&inmate);
    assert_int_equal(kill(inmate.vm.jail_pid, SIGKILL), 0);
    finish(&inmate);
}

/*
 * The caller in a process of its own, of which a copy lives on with all its descriptors, as after
 * Python's os.fork(): the socket does not end with the caller.
 */
static pid_t start_caller(const char *scratch, bool leave_copy, pid_t *ret_jail, int *ret_copy)
{
    int up[2], copy[2];
    pid_t caller;
    char byte;

    assert_int_equal(pipe2(up, O_CLOEXEC), 0);
    assert_int_equal(pipe2(copy, O_CLOEXEC), 0);
    caller = fork();
    if (caller == 0) {
        struct inmate own;

        start_shell(&own, FOR_EVER, scratch);
        wait_until_up(&own);
        if (leave_copy && fork() == 0) {
            close(copy[1]);
            _exit(read(copy[0], &byte, 1) != 0); /* until the test ends it */
        }
        fvm_write_all(up[1], &own.vm.jail_pid, sizeof own.vm.jail_pid);
        for (;;)
            pause();
    }
    close(up[1]);
    close(copy[0]);
    assert_int_equal(read(up[0], ret_jail, sizeof *ret_jail), sizeof *ret_jail);
    close(up[0]);
    *ret_copy = copy[1];
    return caller;
}

static void kill_caller(bool leave_copy)
{
    cleanup_free char *scratch = make_scratch_dir();
    pid_t caller, jail;
    int copy;

    /* Whoever loses its parent becomes ours, so that we can wait for it. */
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    caller = start_caller(scratch, leave_copy, &jail, &copy);
    assert_true(exists(scratch));
    assert_int_equal(kill(caller, SIGKILL), 0);
    assert_int_equal(waitpid(caller, NULL, 0), caller);
    assert_jail_ends_well(jail);
    assert_false(exists(scratch));
    close(copy);
    if (leave_copy)
        assert_true(waitpid(-1, NULL, 0) > 0);
    assert_int_equal(waitpid(-1, NULL, 0), -1); /* the program is gone as well */
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

static void a_killed_caller_leaves_no_process_and_no_file(void **state)
{
    (void)state;
    kill_caller(false);
}

static void nor_does_it_when_a_copy_of_it_lives_on(void **state)
{
    (void)state;
    kill_caller(true);
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
        cmocka_unit_test(a_program_that_is_missing_is_named_in_the_log),
        cmocka_unit_test(destroying_ends_the_program_and_keeps_the_scratch_directory),
        cmocka_unit_test(a_q_ends_the_program),
        cmocka_unit_test(the_end_of_the_control_socket_ends_the_program_and_its_scratch_directory),
        cmocka_unit_test(the_end_of_the_program_is_the_end_of_the_control_socket),
        cmocka_unit_test(without_its_jail_the_program_ends),
        cmocka_unit_test(a_killed_caller_leaves_no_process_and_no_file),
        cmocka_unit_test(nor_does_it_when_a_copy_of_it_lives_on),
    };

    return cmocka_run_group_tests_name("jail", tests, NULL, NULL);
}
