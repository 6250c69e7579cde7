/* SPDX-License-Identifier: MIT */
#include "interpreter.h"

#include <endian.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "limits.h"
#include "log.h"
#include "system.h"

enum { CONTROL_FD = 3 }; /* in the child */
enum { DEFAULT_UID = 1000 };

#define MAIN_DIRECTORY "/work"
#define MAIN_NAME      "main.py"
#define MAIN_PATH      MAIN_DIRECTORY "/" MAIN_NAME

/* What the child calls its main.py: as a user who is in /work would. */
static const char *main_argument(const char *workdir)
{
    return strcmp(workdir, MAIN_DIRECTORY) == 0 ? MAIN_NAME : MAIN_PATH;
}

/* Open a regular file of the image. Not blocking, or a fifo in its place would hang the agent. */
static FILE *open_table(const char *path)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct stat status;
    FILE *file = NULL;

    if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
        file = fdopen(fd, "r");
    if (file == NULL)
        fvm_cleanup_close(&fd);
    return file;
}

/* One line of the image's /etc/passwd, by name or by uid. The image's NSS is not consulted. */
static bool find_passwd(const char *name, uid_t uid, struct account *account)
{
    cleanup_file FILE *file = open_table("/etc/passwd");
    struct passwd *entry;

    while (file && (entry = fgetpwent(file)) != NULL) {
        if (name ? strcmp(entry->pw_name, name) != 0 : entry->pw_uid != uid)
            continue;
        account->uid = entry->pw_uid;
        account->gid = entry->pw_gid;
        snprintf(account->home, sizeof account->home, "%s", entry->pw_dir);
        return true;
    }
    return false;
}

static void find_group(const char *name, gid_t *gid)
{
    cleanup_file FILE *file = open_table("/etc/group");
    struct group *entry;

    while (file && (entry = fgetgrent(file)) != NULL)
        if (strcmp(entry->gr_name, name) == 0) {
            *gid = entry->gr_gid;
            return;
        }
}

static bool parse_id(const char *text, size_t length, unsigned *ret_id)
{
    char *end;
    unsigned long id = strtoul(text, &end, 10);

    if (length == 0 || end != text + length || id >= UINT32_MAX)
        return false;
    *ret_id = (unsigned)id;
    return true;
}

void account_find(const char *user, struct account *ret_account)
{
    size_t name_length = strcspn(user, ":");
    const char *group = user[name_length] ? user + name_length + 1 : "";
    struct account account = {.uid = DEFAULT_UID, .gid = DEFAULT_UID, .home = MAIN_DIRECTORY};
    char name[64];
    unsigned id;

    snprintf(name, sizeof name, "%.*s", (int)name_length, user);
    if (parse_id(user, name_length, &id)) {
        account.uid = account.gid = id;
        find_passwd(NULL, id, &account);
    } else {
        find_passwd(name, 0, &account);
    }
    if (parse_id(group, strlen(group), &id))
        account.gid = id;
    else if (*group)
        find_group(group, &account.gid);
    if (account.uid == 0) {
        account = (struct account){.uid = DEFAULT_UID, .gid = DEFAULT_UID, .home = MAIN_DIRECTORY};
        find_passwd(NULL, DEFAULT_UID, &account);
    }
    if (account.gid == 0)
        account.gid = DEFAULT_UID;
    *ret_account = account;
}

static const char *find_variable(const char *const *env, const char *name)
{
    size_t length = strlen(name);

    for (size_t i = 0; env[i]; i++)
        if (strncmp(env[i], name, length) == 0 && env[i][length] == '=')
            return env[i] + length + 1;
    return NULL;
}

/* An environment being put together: later values of a name replace earlier ones. */
struct environment {
    const char *entries[8192]; /* more than image and request may have together */
    size_t count;
};

static void environment_set(struct environment *environment, const char *entry)
{
    size_t name_length = strcspn(entry, "=");
    size_t i = 0;

    while (i < environment->count && (strncmp(environment->entries[i], entry, name_length) != 0 ||
                                      environment->entries[i][name_length] != '='))
        i++;
    if (i == sizeof environment->entries / sizeof *environment->entries - 1)
        return;
    environment->entries[i] = entry;
    if (i == environment->count)
        environment->count++;
}

static void environment_set_list(struct environment *environment, const char *const *entries)
{
    for (size_t i = 0; entries[i]; i++)
        environment_set(environment, entries[i]);
}

struct pipes {
    int in[2], out[2], err[2], control[2];
};

static void pipes_close(struct pipes *pipes)
{
    int *all = pipes->in;

    for (size_t i = 0; i < sizeof *pipes / sizeof *all; i++)
        fvm_cleanup_close(&all[i]);
}

static int pipes_open(struct pipes *pipes)
{
    memset(pipes, -1, sizeof *pipes);
    if (pipe2(pipes->in, O_CLOEXEC) < 0 || pipe2(pipes->out, O_CLOEXEC) < 0 ||
        pipe2(pipes->err, O_CLOEXEC) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pipes->control) < 0) {
        pipes_close(pipes);
        return -1;
    }
    return 0;
}

/* In the child: become the account and the program. Does not return. */
static void child_exec(const struct pipes *pipes, const struct account *account, bool keep_control,
                       const char *directory, const char *const *argv, const char *const *envp)
{
    const struct rlimit no_core = {0, 0};
    cleanup_close int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL); /* the agent ignores it, and that would be inherited */
    /* The out-of-memory killer must take the snippet, never the agent. */
    if (score < 0 || write(score, "500", 3) < 0)
        agent_die_errno("cannot set oom_score_adj");
    if ((keep_control ? limits_enter_waiting() : limits_enter(0)) < 0)
        agent_die_errno("cannot enter the snippet's control group");
    if (setrlimit(RLIMIT_CORE, &no_core) < 0)
        agent_die_errno("cannot turn core dumps off");
    setsid();
    if (dup2(pipes->in[0], 0) < 0 || dup2(pipes->out[1], 1) < 0 || dup2(pipes->err[1], 2) < 0)
        _exit(126);
    /* Without a zygote the control end closes by itself at exec: the program's code begins. */
    if (keep_control && dup2(pipes->control[1], CONTROL_FD) < 0)
        _exit(126);
    if (setgroups(0, NULL) < 0 || setresgid(account->gid, account->gid, account->gid) < 0 ||
        setresuid(account->uid, account->uid, account->uid) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        dprintf(2, "flashvm: cannot become uid %u: %s\n", account->uid, strerror(errno));
        _exit(126);
    }
    if (chdir(directory) < 0) {
        dprintf(2, "flashvm: cannot enter workdir %s: %s\n", directory, strerror(errno));
        _exit(126);
    }
    execve(argv[0], (char *const *)argv, (char *const *)envp);
    dprintf(2, "flashvm: cannot start %s: %s%s\n", argv[0], strerror(errno),
            errno == ENOENT && access(argv[0], F_OK) == 0 ? " (its dynamic loader is missing)"
                                                          : "");
    _exit(127);
}

static int spawn(const struct account *account, bool keep_control, const char *directory,
                 const char *const *argv, const char *const *envp,
                 struct interpreter *ret_interpreter)
{
    struct pipes pipes;
    pid_t pid;

    if (pipes_open(&pipes) < 0)
        return -1;
    pid = fork();
    if (pid < 0) {
        pipes_close(&pipes);
        return -1;
    }
    if (pid == 0)
        child_exec(&pipes, account, keep_control, directory, argv, envp);
    *ret_interpreter = (struct interpreter){
        .pid = pid,
        .stdin_fd = steal_fd(&pipes.in[1]),
        .stdout_fd = steal_fd(&pipes.out[0]),
        .stderr_fd = steal_fd(&pipes.err[0]),
        .control_fd = steal_fd(&pipes.control[0]),
    };
    pipes_close(&pipes);
    fcntl(ret_interpreter->stdin_fd, F_SETFL, O_NONBLOCK);
    fcntl(ret_interpreter->stdout_fd, F_SETFL, O_NONBLOCK);
    fcntl(ret_interpreter->stderr_fd, F_SETFL, O_NONBLOCK);
    return 0;
}

/* The variables that every snippet starts with: the image's, HOME and USER of the account. */
static int base_environment(const struct setup *setup, const struct account *account,
                            struct environment *environment, char **ret_home)
{
    if (asprintf(ret_home, "HOME=%s", account->home) < 0)
        return -1;
    environment_set(environment, "PATH=/usr/local/bin:/usr/bin:/bin");
    environment_set(environment, "LANG=C.UTF-8");
    environment_set(environment, *ret_home);
    environment_set_list(environment, setup->env);
    return 0;
}

int interpreter_start_zygote(const struct setup *setup, const struct account *account,
                             struct interpreter *ret_interpreter)
{
    /* The full path: sys.path[0] is computed from it after the request may have changed directory.
     */
    const char *const argv[] = {setup->python, "-u", MAIN_PATH, NULL};
    const char *inherited = find_variable(setup->env, "PYTHONPATH");
    struct environment environment = {0};
    cleanup_free char *home = NULL, *path = NULL, *control = NULL;

    if (base_environment(setup, account, &environment, &home) < 0 ||
        asprintf(&path, "PYTHONPATH=" ZYGOTE_DIRECTORY "%s%s", inherited ? ":" : "",
                 inherited ? inherited : "") < 0 ||
        asprintf(&control, "FLASHVM_CONTROL_FD=%d", CONTROL_FD) < 0)
        return -1;
    environment_set(&environment, path);
    environment_set(&environment, control);
    return spawn(account, true, MAIN_DIRECTORY, argv, environment.entries, ret_interpreter);
}

static size_t count_strings(const char *const *strings)
{
    size_t count = 0;

    while (strings[count])
        count++;
    return count;
}

static int append_field(struct fvm_buffer *message, const char *field)
{
    return fvm_buffer_append(message, field, strlen(field) + 1);
}

static int append_fields(struct fvm_buffer *message, const char *const *fields)
{
    for (size_t i = 0; fields[i]; i++)
        if (append_field(message, fields[i]) < 0)
            return -1;
    return 0;
}

int interpreter_become(struct interpreter *zygote, const struct request *request)
{
    cleanup_buffer struct fvm_buffer message = {0};
    char arg_count[16];
    uint32_t length = 0;
    const char *next;
    size_t left;

    snprintf(arg_count, sizeof arg_count, "%zu", count_strings(request->args));
    /* Length first (set below), then fields with a NUL after each; see sitecustomize.py. */
    if (fvm_buffer_append(&message, &length, sizeof length) < 0 ||
        append_field(&message, request->workdir) < 0 ||
        append_field(&message, main_argument(request->workdir)) < 0 ||
        append_field(&message, arg_count) < 0 || append_fields(&message, request->args) < 0 ||
        append_fields(&message, request->env) < 0)
        return -1;
    length = htole32((uint32_t)(message.size - sizeof length));
    memcpy(message.data, &length, sizeof length);
    next = message.data;
    left = message.size;
    while (left > 0) {
        ssize_t count = send(zygote->control_fd, next, left, MSG_NOSIGNAL);

        if (count < 0)
            return -1;
        next += count;
        left -= (size_t)count;
    }
    return 0;
}

int interpreter_exec(const struct setup *setup, const struct account *account,
                     const struct request *request, struct interpreter *ret_interpreter)
{
    struct environment environment = {0};
    cleanup_free char *home = NULL;
    size_t option_count = count_strings(request->python_args);
    size_t arg_count = count_strings(request->args);
    cleanup_free const char **argv = calloc(option_count + arg_count + 3, sizeof *argv);

    if (argv == NULL || base_environment(setup, account, &environment, &home) < 0)
        return -1;
    argv[0] = setup->python;
    memcpy(argv + 1, request->python_args, option_count * sizeof *argv);
    argv[option_count + 1] = main_argument(request->workdir);
    memcpy(argv + option_count + 2, request->args, arg_count * sizeof *argv);
    environment_set_list(&environment, request->env);
    return spawn(account, false, request->workdir, argv, environment.entries, ret_interpreter);
}

void interpreter_close(struct interpreter *interpreter)
{
    int *all[] = {&interpreter->stdin_fd, &interpreter->stdout_fd, &interpreter->stderr_fd,
                  &interpreter->control_fd};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        fvm_cleanup_close(all[i]);
        *all[i] = -1;
    }
}
