/**
 * How long does it take to end a tree, of which a third has left the session and lost its parents? From the word to the
 * death of the last, which is the end of the pipe that all hold. The variant says who ends it:
 *
 *     brood     brood_child_kill_owned, by cgroup or by holder as the host allows; it is said which
 *     host      the host of such a tree is killed by SIGKILL
 *     bare      one write to the cgroup.kill of a cgroup made for it: the limit
 *     watched   a process with nothing else to do waits for the death of another, and then writes that: the limit for
 *               `host`, since somebody has to wake up first
 *
 *     bench-tree VARIANT N
 */
#include "bench.h"

#include <brood.h>
#include <fcntl.h>
#include <mntent.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <uv.h>

static bench_run run = {.peer = "brood"};
static char forest[4096], count_text[16], guarantee[40];

static void find_forest(void) {
    ssize_t n = readlink("/proc/self/exe", forest, sizeof forest - 20);
    char *slash = n > 0 ? strrchr(forest, '/') : NULL;
    if (!slash)
        bench_fail("/proc/self/exe", strerror(errno));
    strcpy(slash + 1, "bench-forest");
}

static void wait_for_ready(int fd) {
    char byte = 0;
    while (byte != '\n')
        if (read(fd, &byte, 1) != 1)
            bench_fail(forest, "did not become ready");
}

static void wait_for_end(int fd) {
    char bytes[64];
    while (read(fd, bytes, sizeof bytes) > 0) {}
    close(fd);
}

static unsigned processes(void) { /* with those that nobody has reaped yet */
    struct sysinfo info;
    if (sysinfo(&info) < 0)
        bench_fail("sysinfo", strerror(errno));
    return info.procs;
}

/* A round leaves thousands of orphans to PID 1: where that is slower than we are, there are no pids left in the end. */
static void wait_for_init(unsigned before) {
    for (int i = 0; processes() > before + run.n / 10 + 10; i++) {
        if (i == 3000)
            bench_fail("PID 1", "does not reap what is dead");
        usleep(10000);
    }
}

static void open_pipe(int fds[2]) {
    if (pipe2(fds, O_CLOEXEC) < 0)
        bench_fail("pipe2", strerror(errno));
}

/* --- brood --- */

static brood_child *start_tree(uv_loop_t *loop, int out) {
    brood_child *child;
    brood_failure why;
    brood_options options = {
        .args = BROOD_ARGS(forest, count_text),
        .out = {.kind = BROOD_STDIO_FD, .fd = out},
        .own = BROOD_OWN_TREE,
    };
    if (brood_spawn(loop, &options, &child, &why) < 0)
        bench_fail("brood_spawn", why.message);
    snprintf(guarantee, sizeof guarantee, "\"guarantee\":\"%s\"", brood_guarantee_text(brood_child_guarantee(child)));
    return child;
}

static void by_brood(void) {
    int fds[2];
    uv_loop_t *loop = uv_default_loop();
    open_pipe(fds);
    brood_child *child = start_tree(loop, fds[1]);
    close(fds[1]);
    wait_for_ready(fds[0]);
    bench_run_begin(&run);
    brood_child_kill_owned(child, SIGKILL);
    wait_for_end(fds[0]);
    bench_run_end(&run, guarantee);
    brood_child_close(child);
    uv_run(loop, UV_RUN_DEFAULT);
}

static void by_hosts_death(void) {
    int fds[2];
    open_pipe(fds);
    pid_t host = fork();
    if (host == 0) {
        uv_loop_t loop;
        uv_loop_init(&loop);
        start_tree(&loop, fds[1]);
        close(fds[1]);
        uv_run(&loop, UV_RUN_DEFAULT);
        _exit(0);
    }
    close(fds[1]);
    wait_for_ready(fds[0]);
    bench_run_begin(&run);
    kill(host, SIGKILL);
    wait_for_end(fds[0]);
    bench_run_end(&run, NULL);
    waitpid(host, NULL, 0);
}

/* --- bare --- */

static void find_cgroups(char *path, size_t size) {
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    *path = 0;
    for (struct mntent *m; mounts && (m = getmntent(mounts));)
        if (strcmp(m->mnt_type, "cgroup2") == 0)
            snprintf(path, size, "%s/bench-tree-%d", m->mnt_dir, (int)getpid());
    if (mounts)
        endmntent(mounts);
    if (!*path || mkdir(path, 0755) < 0)
        bench_fail(*path ? path : "cgroup2", *path ? strerror(errno) : "is not mounted");
}

static void write_word(const char *dir, const char *name, const char *word) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, word, strlen(word)) < 0)
        bench_fail(path, strerror(errno));
    close(fd);
}

static pid_t start_in(const char *dir, const int fds[2]) {
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    write_word(dir, "cgroup.procs", "0");
    dup2(fds[1], 1);
    execl(forest, forest, count_text, (char *)NULL);
    _exit(1);
}

static void remove_cgroup(const char *dir) {
    while (rmdir(dir) < 0 && errno == EBUSY)
        usleep(1000);
}

static void by_cgroup(void) {
    char dir[512];
    int fds[2];
    find_cgroups(dir, sizeof dir);
    open_pipe(fds);
    pid_t pid = start_in(dir, fds);
    close(fds[1]);
    wait_for_ready(fds[0]);
    bench_run_begin(&run);
    write_word(dir, "cgroup.kill", "1");
    wait_for_end(fds[0]);
    bench_run_end(&run, NULL);
    waitpid(pid, NULL, 0);
    remove_cgroup(dir);
}

static pid_t start_watcher(int kill_fd, pid_t watched, int fd) {
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    close(fd);
    struct pollfd ended = {.fd = (int)syscall(SYS_pidfd_open, watched, 0), .events = POLLIN};
    if (poll(&ended, 1, -1) != 1 || write(kill_fd, "1", 1) != 1)
        bench_fail("the watcher", strerror(errno));
    _exit(0);
}

static void by_watcher(void) {
    char dir[512], path[600];
    int fds[2];
    find_cgroups(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/cgroup.kill", dir);
    int kill_fd = open(path, O_WRONLY | O_CLOEXEC);
    pid_t watched = fork();
    if (watched == 0)
        for (;;)
            pause();
    open_pipe(fds);
    pid_t pid = start_in(dir, fds);
    close(fds[1]);
    wait_for_ready(fds[0]);
    pid_t watcher = start_watcher(kill_fd, watched, fds[0]);
    usleep(20000); /* until it waits */
    bench_run_begin(&run);
    kill(watched, SIGKILL);
    wait_for_end(fds[0]);
    bench_run_end(&run, NULL);
    waitpid(pid, NULL, 0);
    waitpid(watched, NULL, 0);
    waitpid(watcher, NULL, 0);
    close(kill_fd);
    remove_cgroup(dir);
}

int main(int argc, char **argv) {
    if (argc != 3)
        bench_fail("usage", "bench-tree brood|host|bare|watched N");
    run.variant = argv[1];
    run.n = bench_number(argv[2]);
    run.c = run.n;
    snprintf(count_text, sizeof count_text, "%u", run.n);
    find_forest();
    while (bench_next_round()) {
        unsigned before = processes();
        if (strcmp(run.variant, "brood") == 0)
            by_brood();
        else if (strcmp(run.variant, "host") == 0)
            by_hosts_death();
        else if (strcmp(run.variant, "watched") == 0)
            by_watcher();
        else
            by_cgroup();
        wait_for_init(before);
    }
    return 0;
}
