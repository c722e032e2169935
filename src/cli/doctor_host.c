/*
 * The checks that need a look at the host itself. What can be tried is: a tree is started whose program leaves a daemon
 * behind, as daemons are made, and it is seen whether that is gone; a namespace is entered by a child that leaves at
 * once. What only /proc can tell, such as limits, is read.
 */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <uv.h>

#include "cli.h"

enum { DAEMON_LIFE_S = 30, START_LIMIT_MS = 20000, ADOPTION_MS = 300 };
enum { ROOMY_BYTES = 1 << 30, ROOMY_PIDS = 1000 };
enum { FEW_DESCRIPTORS = 256, FEW_PROCESSES = 256, FEW_PIDS = 4096, DESCRIPTORS_OF_A_TREE = 4, OTHER_DESCRIPTORS = 16 };

/* --- children --- */

/* Where we are on disk; "" if that is not known. */
static const char *own_program(void) {
    static char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    if (n <= 0) /* no /proc */
        snprintf(path, sizeof path, "%s", (const char *)(uintptr_t)getauxval(AT_EXECFN));
    return path;
}

static brood_options options_for(const char *const *args) {
    return (brood_options){
        .args = args,
        .in = {.kind = BROOD_STDIO_IGNORE},
        .out = {.kind = BROOD_STDIO_PIPE},
        .err = {.kind = BROOD_STDIO_IGNORE},
        .timeout_ms = START_LIMIT_MS,
    };
}

static void check_start(doctor *d) {
    static const doctor_check check = {.name = "start", .group = "starting", .what = "children can be started"};
    brood_options options = options_for(BROOD_ARGS(own_program(), "version"));
    brood_result result;
    int r = brood_spawn_sync(&options, &result);
    bool ok = r == 0 && brood_exit_ok(&result.exit);
    doctor_add(d, &check, ok ? BROOD_ANSWER_YES : BROOD_ANSWER_NO,
               ok      ? NULL
               : r < 0 ? result.failure.message
                       : result.message);
    brood_result_done(&result);
}

/* Whether the daemon of which a tree's output tells the number has ended, be it waited for or not. */
static bool is_gone(const brood_result *result) {
    pid_t pid = (pid_t)strtol(result->out.bytes, NULL, 10);
    return pid > 0 && ((kill(pid, 0) < 0 && errno == ESRCH) || cli_process_state(pid) == 'Z');
}

/* What a program that owns trees has open besides, as a loop and the pipes to others. Returns how many. */
static int take_descriptors(int fds[OTHER_DESCRIPTORS]) {
    int count = 0;
    while (count < OTHER_DESCRIPTORS && (fds[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        count++;
    return count;
}

/* Starts one and ends it. Returns whether nothing of it is left; if not, why. */
static bool try_tree(brood_guarantee guarantee, char *ret_reason, size_t size) {
    brood_options options = options_for(BROOD_ARGS(own_program(), "doctor", "--play-tree"));
    brood_result result;
    options.own = BROOD_OWN_TREE;
    options.require = guarantee;
    int fds[OTHER_DESCRIPTORS], count = take_descriptors(fds), r = brood_spawn_sync(&options, &result);
    while (count > 0)
        close(fds[--count]);
    bool ran = r == 0 && brood_exit_ok(&result.exit), gone = ran && is_gone(&result);
    *ret_reason = 0;
    if (r < 0)
        snprintf(ret_reason, size, "%s", result.failure.message);
    else if (!ran)
        snprintf(ret_reason, size, "%s", result.message);
    else if (!gone)
        snprintf(ret_reason, size, "a daemon that the tree's program had left lives on");
    brood_result_done(&result);
    return gone;
}

static void check_guarantee(doctor *d) {
    static const doctor_check check = {
        .name = "guarantee",
        .group = "trees",
        .what = "a tree, tried out",
        .remedy = "see what is missing below, and man 7 brood; brood run --pid-namespace, where it is there",
    };
    char reason[480], worse[480];
    brood_answer answer = BROOD_ANSWER_YES;
    if (try_tree(BROOD_GUARANTEE_KERNEL, reason, sizeof reason)) {
        d->guarantee = BROOD_GUARANTEE_KERNEL;
    } else if (try_tree(BROOD_GUARANTEE_BEST_EFFORT, worse, sizeof worse)) {
        d->guarantee = BROOD_GUARANTEE_BEST_EFFORT;
        answer = BROOD_ANSWER_PARTLY;
    } else {
        snprintf(reason, sizeof reason, "%s", worse);
        answer = BROOD_ANSWER_NO;
    }
    doctor_check *added = doctor_add(d, &check, answer, reason);
    snprintf(added->value, sizeof added->value, "%s", brood_guarantee_text(d->guarantee));
}

/* Starts a tree with a limit, and ends it. Returns whom it held; NONE: it was refused, and why. */
static brood_limited try_limit(const brood_limits *limits, brood_limit which, brood_failure *ret_why) {
    brood_options options = options_for(BROOD_ARGS(own_program(), "version"));
    brood_limited limited = BROOD_LIMITED_NONE;
    brood_child *child;
    uv_loop_t loop;
    int r = cli_look_for_descriptors();
    if (r == 0)
        r = uv_loop_init(&loop);
    if (r < 0) {
        snprintf(ret_why->message, sizeof ret_why->message, "no loop: %s", strerror(-r));
        return limited;
    }
    options.own = BROOD_OWN_TREE;
    options.limits = *limits;
    if (brood_spawn(&loop, &options, &child, ret_why) == 0) {
        limited = brood_child_limited(child, which);
        brood_child_close(child);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    brood_loop_close(&loop, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return limited;
}

static void check_limit_of_tree(doctor *d, doctor_check check, brood_limits limits, brood_limit which) {
    brood_failure why;
    brood_limited limited = try_limit(&limits, which, &why);
    check.group = "limits";
    if (!check.remedy)
        check.remedy = geteuid() == 0
                           ? "brood run makes itself room for it where it can, and a program by brood_cgroup_adopt; "
                             "else systemd-run --scope -p Delegate=yes -- COMMAND"
                           : "see its controllers above: systemd-run --user --scope -p Delegate=yes -- COMMAND, or be "
                             "root";
    if (limited == BROOD_LIMITED_TREE)
        doctor_add(d, &check, BROOD_ANSWER_YES, NULL);
    else if (limited == BROOD_LIMITED_EACH)
        doctor_add(d, &check, BROOD_ANSWER_PARTLY, "each process of it by itself, by its address space");
    else
        doctor_add(d, &check, BROOD_ANSWER_NO, why.message);
}

/* Another way to the kernel's guarantee, for whoever asks for it: its init takes all of it along. */
static void check_pid_namespace(doctor *d) {
    static const doctor_check check = {
        .name = "pid_namespaces",
        .group = "trees",
        .what = "trees in a PID namespace",
        .remedy = "be root, or have CAP_SYS_ADMIN, where no filter forbids it",
    };
    brood_options options = options_for(BROOD_ARGS(own_program(), "version"));
    brood_result result;
    options.own = BROOD_OWN_TREE;
    options.pid_namespace = true;
    int r = brood_spawn_sync(&options, &result);
    bool ok = r == 0 && brood_exit_ok(&result.exit);
    doctor_check *added = doctor_add(d, &check, ok ? BROOD_ANSWER_YES : BROOD_ANSWER_NO,
                                     ok      ? NULL
                                     : r < 0 ? result.failure.message
                                             : result.message);
    snprintf(added->value, sizeof added->value, "%s", ok ? "kernel" : "");
    brood_result_done(&result);
}

void doctor_check_starts(doctor *d) {
    check_start(d);
    check_guarantee(d);
    check_pid_namespace(d);
    check_limit_of_tree(d, (doctor_check){.name = "memory", .what = "memory of a whole tree"},
                        (brood_limits){.memory = ROOMY_BYTES}, BROOD_LIMIT_MEMORY);
    check_limit_of_tree(d, (doctor_check){.name = "pids", .what = "processes of a whole tree"},
                        (brood_limits){.pids = ROOMY_PIDS}, BROOD_LIMIT_PIDS);
    check_limit_of_tree(d, (doctor_check){.name = "cpu", .what = "CPUs of a whole tree"},
                        (brood_limits){.cpu_percent = 100}, BROOD_LIMIT_CPU);
    check_limit_of_tree(d,
                        (doctor_check){.name = "io",
                                       .what = "disk I/O of a whole tree",
                                       .remedy = "systemd-run --scope -p Delegate=yes -- COMMAND, as root"},
                        (brood_limits){.io_read_bps = ROOMY_BYTES, .io_write_bps = ROOMY_BYTES}, BROOD_LIMIT_IO);
}

/* Forked twice, in a session of its own, its parent gone: who has told its number is to be ended by brood alone. */
int doctor_play_tree(void) {
    int told[2];
    char byte;
    if (pipe2(told, O_CLOEXEC) < 0)
        return 1;
    pid_t middle = fork();
    if (middle == 0) {
        setsid();
        if (fork() != 0)
            _exit(0);
        alarm(DAEMON_LIFE_S); /* in case that brood fails */
        dprintf(STDOUT_FILENO, "%ld\n", (long)getpid());
        for (int fd = 0; fd < 3; fd++)
            close(fd);
        close(told[0]);
        close(told[1]);
        for (;;)
            pause();
    }
    close(told[1]);
    while (read(told[0], &byte, 1) < 0 && errno == EINTR) {}
    return middle < 0 ? 1 : 0;
}

/* --- /proc and namespaces --- */

/* The first line of a file; "" if it cannot be read. */
static const char *read_line(const char *path, char *ret_line, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, ret_line, size - 1);
    if (fd >= 0)
        close(fd);
    ret_line[n > 0 ? n : 0] = 0;
    ret_line[strcspn(ret_line, "\n")] = 0;
    return ret_line;
}

static bool file_says(const char *path, const char *line) {
    char text[64];
    return strcmp(read_line(path, text, sizeof text), line) == 0;
}

static void check_proc(doctor *d) {
    static const doctor_check check = {
        .name = "proc",
        .group = "trees",
        .what = "a /proc of this PID namespace",
        .remedy = "mount -t proc proc /proc, in this PID namespace",
    };
    char text[32];
    ssize_t n = readlink("/proc/self", text, sizeof text - 1);
    text[n > 0 ? n : 0] = 0;
    if (n <= 0)
        doctor_add(d, &check, BROOD_ANSWER_NO, "there is none: a tree's processes cannot be found");
    else if (atol(text) != (long)getpid())
        doctor_add(d, &check, BROOD_ANSWER_NO, "it is another's: a tree's processes cannot be found in it");
    else
        doctor_add(d, &check, BROOD_ANSWER_YES, NULL);
}

/* In a process of its own. 0, or the errno. */
static int try_unshare(int flags) {
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        _exit(unshare(flags) < 0 ? errno : 0);
    if (pid < 0)
        return errno;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

/* Who forbids it is nowhere to be asked: the usual ones are looked at. */
static const char *userns_remedy(void) {
    if (file_says("/proc/sys/user/max_user_namespaces", "0"))
        return "sysctl user.max_user_namespaces=10000";
    if (file_says("/proc/sys/kernel/unprivileged_userns_clone", "0"))
        return "sysctl kernel.unprivileged_userns_clone=1";
    if (file_says("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"))
        return "an AppArmor profile, or sysctl kernel.apparmor_restrict_unprivileged_userns=0";
    return "a container's filter that lets unshare(2) and clone(2) make them";
}

static void check_namespaces(doctor *d) {
    doctor_check check = {
        .name = "user_namespaces", .group = "trees", .what = "user namespaces", .remedy = userns_remedy()};
    char reason[100];
    int error = try_unshare(CLONE_NEWUSER);
    snprintf(reason, sizeof reason, "this user may make none; brood does without (%s)",
             error ? strerrorname_np(error) : "");
    doctor_add(d, &check, error ? BROOD_ANSWER_NO : BROOD_ANSWER_YES, error ? reason : NULL);
}

/* --- limits --- */

static void check_limit(doctor *d, doctor_check check, int resource, rlim_t few, const char *reason) {
    struct rlimit limit;
    bool known = getrlimit(resource, &limit) == 0, is_few = known && limit.rlim_cur < few;
    check.group = "limits";
    doctor_check *added = doctor_add(d, &check,
                                     !known   ? BROOD_ANSWER_UNKNOWN
                                     : is_few ? BROOD_ANSWER_PARTLY
                                              : BROOD_ANSWER_YES,
                                     is_few ? reason : NULL);
    if (known && limit.rlim_cur == RLIM_INFINITY)
        snprintf(added->value, sizeof added->value, "unlimited");
    else if (known)
        snprintf(added->value, sizeof added->value, "%ju", (uintmax_t)limit.rlim_cur);
}

static void check_limits(doctor *d) {
    char reason[100];
    snprintf(reason, sizeof reason, "a child takes one, each pipe one more, a tree %d", DESCRIPTORS_OF_A_TREE);
    check_limit(d, (doctor_check){.name = "nofile", .what = "descriptors", .remedy = "ulimit -n 4096"}, RLIMIT_NOFILE,
                FEW_DESCRIPTORS, reason);
    check_limit(d, (doctor_check){.name = "nproc", .what = "processes of this user", .remedy = "ulimit -u 4096"},
                RLIMIT_NPROC, FEW_PROCESSES, "all of the user's threads count, and each tree has a process of brood's");
}

/* A number of the kernel's: fine, unless it is less than `few`. */
static void check_sysctl(doctor *d, doctor_check check, const char *path, long few, const char *reason) {
    char text[64];
    read_line(path, text, sizeof text);
    bool known = *text, is_few = known && atol(text) < few;
    check.group = "limits";
    check.remedy = known ? check.remedy : NULL;
    doctor_check *added = doctor_add(d, &check,
                                     !known   ? BROOD_ANSWER_UNKNOWN
                                     : is_few ? BROOD_ANSWER_PARTLY
                                              : BROOD_ANSWER_YES,
                                     !known   ? "/proc/sys does not tell"
                                     : is_few ? reason
                                              : NULL);
    snprintf(added->value, sizeof added->value, "%s", text);
}

static void check_sysctls(doctor *d) {
    check_sysctl(d, (doctor_check){.name = "pid_max", .what = "process ids", .remedy = "sysctl kernel.pid_max=4194304"},
                 "/proc/sys/kernel/pid_max", FEW_PIDS, "they come again soon, and end where all are taken");
    check_sysctl(d,
                 (doctor_check){.name = "pipe_pages",
                                .what = "pages for pipes of a user",
                                .remedy = "sysctl fs.pipe-user-pages-soft=16384"},
                 "/proc/sys/fs/pipe-user-pages-soft", 1024,
                 "a user who is over it gets pipes of one or two pages: output is slower then");
}

/* --- the host --- */

static void check_kernel(doctor *d) {
    static const doctor_check check = {.name = "kernel", .group = "host", .what = "Linux", .remedy = "Linux 5.4"};
    struct utsname host;
    int major = 0, minor = 0;
    uname(&host);
    bool known = sscanf(host.release, "%d.%d", &major, &minor) == 2;
    bool old = known && (major < 5 || (major == 5 && minor < 4));
    doctor_check *added = doctor_add(d, &check,
                                     !known ? BROOD_ANSWER_UNKNOWN
                                     : old  ? BROOD_ANSWER_NO
                                            : BROOD_ANSWER_YES,
                                     old ? "brood is made for Linux 5.4 and later" : NULL);
    snprintf(added->value, sizeof added->value, "%.100s", host.release);
}

static void check_pid_1(doctor *d) {
    static const doctor_check check = {.name = "pid_1", .group = "host", .what = "we are PID 1"};
    doctor_add(d, &check, getpid() == 1 ? BROOD_ANSWER_YES : BROOD_ANSWER_NO, NULL);
}

/* Whether whoever adopts an orphan waits for it soon: one is made, and ends at once. */
static bool orphan_vanishes(void) {
    int told[2], tries = 0;
    pid_t orphan = 0;
    if (pipe2(told, O_CLOEXEC) < 0)
        return true;
    pid_t middle = fork();
    if (middle == 0) {
        orphan = fork();
        if (orphan > 0 && write(told[1], &orphan, sizeof orphan) < 0) {}
        _exit(0);
    }
    close(told[1]);
    while (middle > 0 && waitpid(middle, NULL, 0) < 0 && errno == EINTR) {}
    bool known = read(told[0], &orphan, sizeof orphan) == (ssize_t)sizeof orphan;
    close(told[0]);
    while (known && kill(orphan, 0) == 0 && tries++ < ADOPTION_MS)
        poll(NULL, 0, 1);
    return tries <= ADOPTION_MS;
}

static void check_orphans(doctor *d) {
    static const doctor_check check = {
        .name = "orphans_reaped",
        .group = "host",
        .what = "orphans are reaped",
        .remedy = "start the container with brood run --init, or docker run --init",
    };
    if (getpid() == 1)
        doctor_add(d, &check, BROOD_ANSWER_PARTLY, "we are PID 1: outside of trees only brood run --init reaps them");
    else if (orphan_vanishes())
        doctor_add(d, &check, BROOD_ANSWER_YES, NULL);
    else
        doctor_add(d, &check, BROOD_ANSWER_PARTLY,
                   "one is a zombie after 300 ms: who adopts them is slow to wait for them, or never does");
}

static void check_memfd_noexec(doctor *d) {
    static const doctor_check check = {
        .name = "memfd_noexec",
        .group = "host",
        .what = "vm.memfd_noexec",
        .remedy = "sysctl vm.memfd_noexec=1",
    };
    char text[64];
    if (!*read_line("/proc/sys/vm/memfd_noexec", text, sizeof text))
        return; /* before Linux 6.3 there is none */
    bool forbids = strcmp(text, "2") == 0;
    doctor_check *added = doctor_add(d, &check, forbids ? BROOD_ANSWER_NO : BROOD_ANSWER_YES,
                                     forbids ? "no program may be run from memory, and so no tree be owned" : NULL);
    snprintf(added->value, sizeof added->value, "%s", text);
}

static void check_core_pattern(doctor *d) {
    static const doctor_check check = {.name = "core_pattern", .group = "host", .what = "core dumps go to"};
    char text[128];
    read_line("/proc/sys/kernel/core_pattern", text, sizeof text);
    bool piped = text[0] == '|';
    doctor_check *added = doctor_add(d, &check, *text ? BROOD_ANSWER_YES : BROOD_ANSWER_UNKNOWN,
                                     piped ? "a program of the host's takes them: whoever crashes ends when it is done"
                                     : *text ? NULL
                                             : "/proc/sys does not tell");
    snprintf(added->value, sizeof added->value, "%s", text);
}

void doctor_check_host(doctor *d) {
    signal(SIGCHLD, SIG_DFL); /* ignored, it would throw away what our own children say */
    check_proc(d);
    check_namespaces(d);
    check_limits(d);
    check_sysctls(d);
    check_kernel(d);
    check_pid_1(d);
    check_orphans(d);
    check_memfd_noexec(d);
    check_core_pattern(d);
}
