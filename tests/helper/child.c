/*
 * brood-child: the program that the tests start. Its arguments are a small script, carried out word by word:
 * `brood-child print hello bytes 4096 exit 7`. It links nothing but libc, so that it can be static, and it never
 * outlives its test for long: an alarm ends it, and each process that it forks, after a minute (BROOD_CHILD_LIFE
 * seconds, if set). Whatever it reports goes to its stdout as one line for each fact, in words that a test compares.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static char **words; /* the script, moved on as it is carried out */
static char **all;   /* argv */
static bool hold_at_end;
static volatile sig_atomic_t trap_code[65];

static void die(const char *what) {
    dprintf(2, "brood-child: %s: %s\n", what, strerror(errno));
    _exit(99);
}

static void write_all(int fd, const void *bytes, size_t len) {
    const char *at = bytes;
    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EPIPE)
            _exit(98);
        if (n < 0)
            die("write");
        at += n;
        len -= (size_t)n;
    }
}

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...) {
    char line[PATH_MAX + 256];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    write_all(1, line, (size_t)len < sizeof line ? (size_t)len : sizeof line - 1);
}

static const char *next(void) {
    if (!*words) {
        dprintf(2, "brood-child: a word is missing after \"%s\"\n", words[-1]);
        _exit(99);
    }
    return *words++;
}

static long next_number(void) {
    return strtol(next(), NULL, 0);
}

static void live_a_minute(void) {
    const char *life = getenv("BROOD_CHILD_LIFE");
    alarm(life ? (unsigned)atoi(life) : 60);
}

static void sleep_ms(long ms) {
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&left, &left) < 0 && errno == EINTR) {}
}

static void wait_for_ever(void) {
    for (;;)
        pause();
}

static int signal_number(const char *name, size_t len) {
    static const struct {
        const char *name;
        int number;
    } names[] = {{"HUP", SIGHUP},   {"INT", SIGINT},   {"QUIT", SIGQUIT}, {"ABRT", SIGABRT}, {"KILL", SIGKILL},
                 {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"SEGV", SIGSEGV}, {"PIPE", SIGPIPE}, {"ALRM", SIGALRM},
                 {"TERM", SIGTERM}, {"CHLD", SIGCHLD}, {"CONT", SIGCONT}, {"STOP", SIGSTOP}, {"TSTP", SIGTSTP}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i].name) == len && strncmp(names[i].name, name, len) == 0)
            return names[i].number;
    return atoi(name);
}

/* "TERM,INT": one handler for each */
static void each_signal(const char *list, void (*handler)(int)) {
    while (*list) {
        size_t len = strcspn(list, ",");
        if (signal(signal_number(list, len), handler) == SIG_ERR)
            die("signal");
        list += len;
        list += *list == ',';
    }
}

/* what, and only what, ends a process by that signal */
static void do_signal(void) {
    const char *name = next();
    int number = signal_number(name, strlen(name));
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    signal(number, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    kill(getpid(), number);
}

static void do_exit(void) {
    _exit((int)next_number());
}

static void do_abort(void) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    abort();
}

/* A script that ends with `ignore TERM` or `trap TERM 3` holds: it would be over before a signal could come. */
static void do_ignore(void) {
    each_signal(next(), SIG_IGN);
    hold_at_end = true;
}

static void leave_by_trap(int number) {
    _exit(trap_code[number]);
}

static void do_trap(void) {
    const char *name = next();
    trap_code[signal_number(name, strlen(name))] = (int)next_number();
    each_signal(name, leave_by_trap);
    hold_at_end = true;
}

static void told(int number) {
    char line[] = "got 00\n";
    line[4] = (char)('0' + number / 10);
    line[5] = (char)('0' + number % 10);
    if (write(1, line, 7) < 0)
        _exit(97);
}

/* prints "got NN" for each of the signals */
static void do_tell(void) {
    each_signal(next(), told);
    hold_at_end = true;
}

static void do_block(void) {
    const char *name = next();
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal_number(name, strlen(name)));
    sigprocmask(SIG_BLOCK, &set, NULL);
}

static void do_hold(void) {
    say("ready\n");
    wait_for_ever();
}

static void do_ready(void) {
    say("ready\n");
}

static void do_pause(void) {
    wait_for_ever();
}

static void do_stop(void) {
    kill(getpid(), SIGSTOP);
}

static void do_sleep(void) {
    sleep_ms(next_number());
}

static void do_spin(void) {
    for (volatile unsigned long turns = 0;; turns++) {}
}

/* uses so many milliseconds of CPU */
static void do_burn(void) {
    long ms = next_number();
    struct timespec used;
    do {
        for (volatile int i = 0; i < 100000; i++) {}
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    } while (used.tv_sec * 1000 + used.tv_nsec / 1000000 < ms);
}

static void do_rss(void) {
    size_t size = (size_t)next_number() * 1024;
    char *block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED)
        die("mmap");
    for (size_t i = 0; i < size; i += 4096)
        ((volatile char *)block)[i] = 1;
}

static void do_print(void) {
    say("%s\n", next());
}

static void do_put(void) {
    const char *text = next();
    write_all(1, text, strlen(text));
}

static void do_err(void) {
    dprintf(2, "%s\n", next());
}

static void do_both(void) {
    say("out\n");
    dprintf(2, "err\n");
}

static void do_write(void) {
    int fd = (int)next_number();
    const char *text = next();
    write_all(fd, text, strlen(text));
}

/* byte number i is i % 251: a test knows each by its place */
static void write_pattern(int fd, size_t count) {
    unsigned char block[251 * 64];
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (unsigned char)(i % 251);
    for (size_t len; count > 0; count -= len) {
        len = count < sizeof block ? count : sizeof block;
        write_all(fd, block, len);
    }
}

static void do_bytes(void) {
    write_pattern(1, (size_t)next_number());
}

static void do_bytes_to(void) {
    int fd = (int)next_number();
    write_pattern(fd, (size_t)next_number());
}

static void do_lines(void) {
    long count = next_number();
    for (long i = 0; i < count; i++)
        say("line %ld\n", i);
}

/* a line each so many milliseconds */
static void do_tick(void) {
    long count = next_number(), ms = next_number();
    for (long i = 0; i < count; i++) {
        say("tick\n");
        sleep_ms(ms);
    }
}

static ssize_t read_some(int fd, void *block, size_t size) {
    ssize_t n;
    do
        n = read(fd, block, size);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        die("read");
    return n;
}

static void copy(int from, int to) {
    char block[65536];
    for (ssize_t n; (n = read_some(from, block, sizeof block)) > 0;)
        write_all(to, block, (size_t)n);
}

static void do_cat(void) {
    copy(0, 1);
}

static void do_copy(void) {
    int from = (int)next_number();
    copy(from, (int)next_number());
}

static void drain(int fd) {
    char block[65536];
    unsigned long count = 0, sum = 0;
    for (ssize_t n; (n = read_some(fd, block, sizeof block)) > 0;)
        for (ssize_t i = 0; i < n; i++, count++)
            sum = sum * 31 + (unsigned char)block[i];
    say("%lu %lu\n", count, sum);
}

/* reads to the end: "COUNT HASH", the hash being h = h * 31 + byte in 64 bits */
static void do_drain(void) {
    drain(0);
}

static void do_drain_from(void) {
    drain((int)next_number());
}

/* reads exactly so many bytes and goes on */
static void do_read(void) {
    size_t left = (size_t)next_number();
    char block[4096];
    while (left > 0) {
        ssize_t n = read_some(0, block, left < sizeof block ? left : sizeof block);
        if (n == 0)
            return;
        left -= (size_t)n;
    }
}

/* a line from stdin, printed as `read: LINE` */
static void do_line(void) {
    char line[4096];
    size_t len = 0;
    while (len < sizeof line - 1 && read_some(0, line + len, 1) == 1 && line[len] != '\n')
        len++;
    line[len] = 0;
    say("read: %s\n", line);
}

static void do_slow_read(void) {
    char block[512];
    unsigned long count = 0;
    for (ssize_t n; (n = read_some(0, block, sizeof block)) > 0; sleep_ms(1))
        count += (unsigned long)n;
    say("%lu\n", count);
}

static void do_wait_eof(void) {
    char block[4096];
    while (read_some(0, block, sizeof block) > 0) {}
}

static void do_close(void) {
    close((int)next_number());
}

static void do_close_stdout(void) {
    close(1);
}

static void do_close_stdin(void) {
    close(0);
    say("ready\n");
    wait_for_ever();
}

static void do_args(void) {
    for (char **arg = all; *arg; arg++) {
        write_all(1, *arg, strlen(*arg));
        write_all(1, "\n", 1);
    }
    _exit(0);
}

/* the same for what a shell hands on: each ended by a NUL, the words after this one only */
static void do_args0(void) {
    for (; *words; words++)
        write_all(1, *words, strlen(*words) + 1);
    _exit(0);
}

static void do_env(void) {
    for (char **entry = environ; *entry; entry++)
        say("%s\n", *entry);
}

static void do_getenv(void) {
    const char *value = getenv(next());
    say("%s\n", value ? value : "(unset)");
}

static void do_cwd(void) {
    char path[PATH_MAX];
    say("%s\n", getcwd(path, sizeof path) ? path : "(none)");
}

static void do_exe(void) {
    char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    path[len > 0 ? len : 0] = 0;
    say("%s\n", path);
}

static void do_ids(void) {
    uid_t ruid, euid, suid;
    gid_t rgid, egid, sgid;
    gid_t groups[4096];
    getresuid(&ruid, &euid, &suid);
    getresgid(&rgid, &egid, &sgid);
    int count = getgroups(4096, groups);
    mode_t mask = umask(0);
    umask(mask);
    say("uid %d %d %d\ngid %d %d %d\ngroups", (int)ruid, (int)euid, (int)suid, (int)rgid, (int)egid, (int)sgid);
    for (int i = 0; i < count; i++)
        say(" %d", (int)groups[i]);
    say("\numask %04o\nnice %d\nno_new_privs %d\n", (unsigned)mask, getpriority(PRIO_PROCESS, 0),
        prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

static void say_limit(const char *name, int resource) {
    struct rlimit limit;
    if (getrlimit(resource, &limit) < 0)
        die("getrlimit");
    say("%s %lld %lld\n", name, limit.rlim_cur == RLIM_INFINITY ? -1LL : (long long)limit.rlim_cur,
        limit.rlim_max == RLIM_INFINITY ? -1LL : (long long)limit.rlim_max);
}

static void do_limits(void) {
    say_limit("nofile", RLIMIT_NOFILE);
    say_limit("core", RLIMIT_CORE);
    say_limit("cpu", RLIMIT_CPU);
    say_limit("fsize", RLIMIT_FSIZE);
    say_limit("as", RLIMIT_AS);
    say_limit("nproc", RLIMIT_NPROC);
    say_limit("stack", RLIMIT_STACK);
}

static void do_fds(void) {
    DIR *directory = opendir("/proc/self/fd");
    if (!directory)
        die("/proc/self/fd");
    for (struct dirent *entry; (entry = readdir(directory));) {
        char path[PATH_MAX];
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(directory))
            continue;
        ssize_t len = readlinkat(dirfd(directory), entry->d_name, path, sizeof path - 1);
        path[len > 0 ? len : 0] = 0;
        say("%s %s\n", entry->d_name, path);
    }
    closedir(directory);
}

/* "fifo 13:4711 nonblock append" */
static void do_stat(void) {
    int fd = (int)next_number();
    struct stat st;
    if (fstat(fd, &st) < 0) {
        say("closed\n");
        return;
    }
    int flags = fcntl(fd, F_GETFL);
    say("%s %lu:%lu%s%s%s\n",
        S_ISFIFO(st.st_mode)   ? "fifo"
        : S_ISREG(st.st_mode)  ? "file"
        : S_ISCHR(st.st_mode)  ? "device"
        : S_ISSOCK(st.st_mode) ? "socket"
                               : "other",
        (unsigned long)st.st_dev, (unsigned long)st.st_ino, flags & O_NONBLOCK ? " nonblock" : "",
        flags & O_APPEND ? " append" : "", fcntl(fd, F_GETFD) & FD_CLOEXEC ? " cloexec" : "");
}

static void do_pipe_size(void) {
    say("%d\n", fcntl((int)next_number(), F_GETPIPE_SZ));
}

/* a descriptor opened anew by its path: works for a pipe, not for a socket */
static void do_reopen(void) {
    int fd = (int)next_number();
    char path[64];
    snprintf(path, sizeof path, "/dev/fd/%d", fd);
    int again = open(path, fd == 0 ? O_RDONLY : O_WRONLY);
    if (again < 0) {
        say("reopen: %s\n", strerror(errno));
        return;
    }
    dup2(again, fd);
    close(again);
}

static void do_mask(void) {
    static char text[16384];
    FILE *status = fopen("/proc/self/status", "re");
    if (!status)
        die("/proc/self/status");
    while (fgets(text, sizeof text, status))
        if (strncmp(text, "SigBlk", 6) == 0 || strncmp(text, "SigIgn", 6) == 0 || strncmp(text, "SigCgt", 6) == 0)
            say("%s", text);
    fclose(status);
}

static void do_session(void) {
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
    say("pid %d\npgid %d\nsid %d\ntty %s\n", (int)getpid(), (int)getpgrp(), (int)getsid(0), tty < 0 ? "none" : "yes");
    if (tty >= 0)
        close(tty);
}

static void do_parent(void) {
    say("%d\n", (int)getppid());
}

static pid_t fork_here(void) {
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0)
        live_a_minute();
    return pid;
}

static void daemon_life(const char *life, bool escape) {
    pid_t pid = fork_here();
    if (pid == 0) {
        if (escape)
            setsid();
        if (strcmp(life, "forever") == 0)
            wait_for_ever();
        sleep_ms(atol(life));
        _exit(0);
    }
    say("%d\n", (int)pid);
}

/* a grandchild that holds every descriptor; its pid is printed; the rest of the script is the parent's: then it ends */
static void do_daemon(void) {
    daemon_life(next(), false);
}

/* the same, in a session of its own */
static void do_escape(void) {
    daemon_life(next(), true);
}

/* a daemon as they are made: forked twice, in a session of its own, its parent gone; its pid is printed by itself */
static void do_orphan(void) {
    const char *life = next();
    int told[2];
    char byte;
    if (pipe2(told, O_CLOEXEC) < 0)
        die("pipe2");
    pid_t middle = fork_here();
    if (middle == 0) {
        setsid();
        if (fork_here() > 0)
            _exit(0);
        say("%d\n", (int)getpid());
        close(told[0]), close(told[1]);
        if (strcmp(life, "forever") == 0)
            wait_for_ever();
        sleep_ms(atol(life));
        _exit(0);
    }
    close(told[1]);
    while (read(told[0], &byte, 1) < 0 && errno == EINTR) {}
    close(told[0]);
    waitpid(middle, NULL, 0);
}

static int second_thread(void *unused) {
    (void)unused;
    wait_for_ever();
    return 0;
}

/* the first thread ends, another lives on: to /proc the process looks like a zombie */
static void do_leave_thread(void) {
    static char stack[65536] __attribute__((aligned(16)));
    say("ready\n");
    if (clone(second_thread, stack + sizeof stack, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD,
              NULL) < 0)
        die("clone");
    for (;;)
        syscall(SYS_exit, 0);
}

/* forks and leaves, again and again, each time in a session of its own: it never has the same pid for long */
static void do_hop(void) {
    time_t end = time(NULL) + 30;
    while (time(NULL) < end) {
        pid_t pid = fork();
        if (pid != 0)
            _exit(pid < 0);
        setsid();
    }
    _exit(0);
}

/* so many processes make others that end at once, some of them as orphans: their numbers are soon free again */
static void do_churn(void) {
    for (long more = next_number(); more > 1; more--)
        if (fork() == 0)
            break;
    live_a_minute();
    for (unsigned turn = 0;; turn++) {
        pid_t pid = fork(); /* there may be no free number just now */
        if (pid == 0 && turn % 2)
            fork();
        if (pid == 0)
            _exit(0);
        if (pid < 0)
            sleep_ms(1);
        else
            waitpid(pid, NULL, 0);
    }
}

/* every process forks as fast as it can, until so many were made */
static void do_breed(void) {
    long most = next_number();
    long *made = mmap(NULL, sizeof *made, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED)
        die("mmap");
    say("breeding\n");
    while (__atomic_add_fetch(made, 1, __ATOMIC_RELAXED) < most)
        if (fork() == 0)
            alarm(60);
    wait_for_ever();
}

/* a grandchild that ignores SIGTERM */
static void do_stubborn(void) {
    void (*was)(int) = signal(SIGTERM, SIG_IGN);
    daemon_life("forever", false);
    signal(SIGTERM, was);
}

/* the rest of the script is carried out by a child; this process ends as it does */
static void do_fork(void) {
    pid_t pid = fork_here();
    if (pid == 0)
        return;
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* signals the process that started it */
static void do_signal_parent(void) {
    const char *name = next();
    kill(getppid(), signal_number(name, strlen(name)));
}

/* from now on every signal stops it, for a parent that is no debugger */
static void do_traced(void) {
    if (ptrace(PTRACE_TRACEME, 0, 0, 0) < 0)
        die("ptrace");
}

static void do_touch(void) {
    int fd = open(next(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        die("open");
    close(fd);
}

static const struct {
    const char *word;
    void (*run)(void);
} verbs[] = {
    {"exit", do_exit},
    {"signal", do_signal},
    {"abort", do_abort},
    {"ignore", do_ignore},
    {"trap", do_trap},
    {"tell", do_tell},
    {"block", do_block},
    {"hold", do_hold},
    {"ready", do_ready},
    {"pause", do_pause},
    {"stop", do_stop},
    {"sleep", do_sleep},
    {"spin", do_spin},
    {"burn", do_burn},
    {"rss", do_rss},
    {"print", do_print},
    {"put", do_put},
    {"err", do_err},
    {"both", do_both},
    {"write", do_write},
    {"bytes", do_bytes},
    {"bytes-to", do_bytes_to},
    {"lines", do_lines},
    {"tick", do_tick},
    {"cat", do_cat},
    {"copy", do_copy},
    {"drain", do_drain},
    {"drain-from", do_drain_from},
    {"read", do_read},
    {"line", do_line},
    {"slow-read", do_slow_read},
    {"wait-eof", do_wait_eof},
    {"close", do_close},
    {"close-stdout", do_close_stdout},
    {"close-stdin", do_close_stdin},
    {"args", do_args},
    {"args0", do_args0},
    {"env", do_env},
    {"getenv", do_getenv},
    {"cwd", do_cwd},
    {"exe", do_exe},
    {"ids", do_ids},
    {"limits", do_limits},
    {"fds", do_fds},
    {"stat", do_stat},
    {"pipe-size", do_pipe_size},
    {"reopen", do_reopen},
    {"mask", do_mask},
    {"session", do_session},
    {"parent", do_parent},
    {"daemon", do_daemon},
    {"escape", do_escape},
    {"orphan", do_orphan},
    {"leave-thread", do_leave_thread},
    {"hop", do_hop},
    {"churn", do_churn},
    {"breed", do_breed},
    {"stubborn", do_stubborn},
    {"fork", do_fork},
    {"signal-parent", do_signal_parent},
    {"traced", do_traced},
    {"touch", do_touch},
};

static void carry_out(const char *word) {
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(verbs[i].word, word) == 0) {
            verbs[i].run();
            return;
        }
    dprintf(2, "brood-child: no such word: %s\n", word);
    _exit(99);
}

int main(int argc, char **argv) {
    all = argv;
    words = argv + (argc > 0);
    live_a_minute();
    while (*words) {
        hold_at_end = false;
        carry_out(next());
    }
    if (hold_at_end)
        do_hold();
    return 0;
}
