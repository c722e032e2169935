/*
 * brood-thicket: a process that grows a tree of random shape, for tests which then kill at random. `brood-thicket SEED
 * SIZE [roam]`: so many processes, shaped by the seed alone; with `roam` they may move to the cgroup above. Whatever a
 * daemon, a shell or an attacker does to get out of sight is in it: sessions, double forks, subreapers, PID namespaces,
 * parents that leave, processes that stop, trace, run away, or answer SIGTERM by forking. All of them hold what they
 * inherited open, and an alarm ends each, so that a test that fails leaves nothing for long.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIFE_S 50
#define MOST_HOPS 300
#define MOST_ANSWERS 3 /* forks at SIGTERM, in one line of descent */

static uint64_t seed;
static bool roams;
static volatile sig_atomic_t answers;

/* splitmix64 */
static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static int below(int bound) {
    seed += 0x9e3779b97f4a7c15u;
    return (int)(mix(seed) % (uint64_t)bound);
}

static void nap_us(long us) {
    struct timespec left = {.tv_nsec = us * 1000};
    while (nanosleep(&left, &left) < 0 && errno == EINTR) {}
}

/* In the child: a sequence of its own, and an alarm, which is not inherited. */
static pid_t fork_here(void) {
    pid_t pid = fork();
    if (pid == 0) {
        seed = mix(seed ^ 0x5bd1e995u);
        alarm(LIFE_S);
    }
    return pid;
}

/* --- habits --- */

static void answer_by_forking(int number) {
    (void)number;
    if (answers++ >= MOST_ANSWERS)
        return;
    if (fork() == 0) {
        alarm(LIFE_S);
        setsid();
    }
}

/* Up to the parent of the cgroup, as root may. */
static void move_up(void) {
    char line[4096] = "", path[4096 + 128];
    int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
    if (fd >= 0)
        close(fd);
    line[n > 0 ? n : 0] = 0;
    char *own = strstr(line, "0::/"), *end = own ? strchr(own, '\n') : NULL;
    if (!end)
        return;
    *end = 0;
    const char *mount = access("/sys/fs/cgroup/unified", F_OK) == 0 ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup";
    snprintf(path, sizeof path, "%s%s/../cgroup.procs", mount, own + 3);
    fd = strstr(own, "/brood-") ? open(path, O_WRONLY | O_CLOEXEC) : -1;
    if (fd >= 0 && write(fd, "0", 1) == 1)
        close(fd);
}

static void take_up_habits(void) {
    switch (below(6)) {
    case 0:
        signal(SIGTERM, SIG_IGN);
        break;
    case 1:
        signal(SIGTERM, answer_by_forking);
        break;
    default:
        signal(SIGTERM, SIG_DFL);
    }
    if (below(8) == 0)
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    if (below(8) == 0)
        prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    if (roams && below(12) == 0)
        move_up();
}

/* --- ways to live --- */

static int second_thread(void *unused) {
    (void)unused;
    for (;;)
        pause();
    return 0;
}

static void leave_first_thread(void) {
    static char stack[16384] __attribute__((aligned(16)));
    if (clone(second_thread, stack + sizeof stack, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD,
              NULL) >= 0)
        for (;;)
            syscall(SYS_exit, 0);
}

/* Never where it was seen. */
static void run_away(void) {
    for (int hops = below(MOST_HOPS); hops > 0; hops--) {
        pid_t pid = fork_here();
        if (pid > 0)
            _exit(0);
        if (pid == 0 && below(2))
            setsid();
    }
}

static _Noreturn void live(void) {
    switch (below(10)) {
    case 0:
        kill(getpid(), SIGSTOP);
        break;
    case 1:
    case 2:
        nap_us(below(6000));
        _exit(0);
    case 3:
        leave_first_thread();
        break;
    case 4:
        run_away();
        break;
    case 5:
        ptrace(PTRACE_TRACEME, 0, 0, 0); /* every signal stops it from now on, for a parent that does not look */
        break;
    default:
        break;
    }
    for (;;)
        pause();
}

/* --- growing --- */

static _Noreturn void grow(int size);

static _Noreturn void begin_anew(int size) {
    char number[24], count[16];
    snprintf(number, sizeof number, "%llu", (unsigned long long)seed);
    snprintf(count, sizeof count, "%d", size);
    execl("/proc/self/exe", "brood-thicket", number, count, roams ? "roam" : NULL, (char *)NULL);
    _exit(1);
}

static void bear(int size) {
    int way = below(8);
    if (way == 0 && unshare(CLONE_NEWPID) < 0) /* for the children only */
        way = 1;
    pid_t pid = fork_here();
    if (pid != 0)
        return;
    if (way >= 1 && way <= 3)
        setsid();
    if (way == 3 || way == 4)
        if (fork_here() > 0)
            _exit(0);
    if (way == 5)
        setpgid(0, 0);
    if (way == 6)
        begin_anew(size);
    grow(size);
}

/* This process, and so many more with it. */
static _Noreturn void grow(int size) {
    take_up_habits();
    for (int left = size - 1, share; left > 0; left -= share) {
        share = 1 + below(left);
        bear(share);
        if (below(4) == 0)
            nap_us(below(2000));
    }
    live();
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    seed = strtoull(argv[1], NULL, 10);
    roams = argc > 3;
    alarm(LIFE_S);
    grow(atoi(argv[2]));
}
