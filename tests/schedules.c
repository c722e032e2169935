/*
 * Schedules: a host that owns trees of random shape, and random kills and stops of the host, of holders, of its guard and
 * of whatever is in the trees. In the end nothing may be alive. The judge is the subreaper of all of it, so who survived anything is
 * its child, whatever that did to get out of sight; besides all hold one pipe, and have one mark in their environment.
 *
 * BROOD_TEST_MANY: a thousand of them. BROOD_TEST_SEED: the first one's seed; each tells its own when it fails, and
 * BROOD_TEST_SCHEDULES=1 with that seed is that one alone. What is decided at random comes of the seed alone; what the
 * kernel does at the same time does not.
 */
#include "harness/watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/fault.h"
#include "own/guard.h"

enum {
    MOST_TREES = 3,
    MOST_SIZE = 14,
    MOST_ACTIONS = 5,
    MOST_BELOW = 4096,
    MOST_TOLD = 20,
    CLEAR_MS = 50,
    AFTERLIFE_US = 2000, /* between the end of its descriptors and its own */
    BOUND_MS = 5000,
    MANY = 1000,
    FEW = 25
};

/* Who is killed. What is promised differs: docs/OWNERSHIP.md. A guard is as a holder here. */
typedef enum victims {
    HOSTS,   /* the host and what is in the trees; holders are stopped at most */
    HOLDERS, /* holders and what is in the trees; the host lives until it has ended all */
    VICTIM_KINDS
} victims;

typedef struct schedule {
    uint64_t seed, random;
    victims victims;
    bool kernel; /* each tree has a cgroup */
    bool direct; /* the host starts it by itself */
    int trees;
    pid_t host;
    bool host_killed, host_waited;
    bool holder_stopped_late; /* when its host was gone: nothing is ended until somebody continues it */
    char mark[64];            /* in the environment of all */
    char story[512];          /* what was done */
    int held[2];              /* [1] is held by every process of the trees */
    int orders[2];            /* at its end the host is to end all, and to leave */
    int cgroup;               /* the directory that the host's trees have theirs in; -1: none */
} schedule;

typedef struct process {
    pid_t pid, parent;
    char state;
    unsigned long long begun;
    char name[20];
    bool is_holder, is_copy; /* a copy of the host is nobody's, and ended by the judge */
} process;

/* --- chance --- */

static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static int below(schedule *s, int bound) {
    s->random += 0x9e3779b97f4a7c15u;
    return (int)(mix(s->random) % (uint64_t)bound);
}

static bool one_in(schedule *s, int n) {
    return below(s, n) == 0;
}

static void nap_us(int us) {
    nanosleep(&(struct timespec){.tv_nsec = us * 1000L}, NULL);
}

/* Mostly while the trees are growing, sometimes when they have. */
static void nap_at_random(schedule *s) {
    static const int longest_us[] = {1, 500, 3000, 3000, 12000, 30000};
    nap_us(below(s, longest_us[below(s, 6)]));
}

/* --- the host --- */

typedef struct host {
    schedule *schedule;
    uv_loop_t loop;
    brood_child *children[MOST_TREES];
    uv_timer_t acts[MOST_TREES];
    uv_poll_t orders;
    int closed;
} host;

static host *h; /* in a host's process there is one */

static void host_leaves(schedule *s) {
    fcntl(s->orders[0], F_SETFL, 0); /* libuv has made it non-blocking */
    switch (below(s, 4)) {
    case 0:
        _exit(0);
    case 1:
        abort();
    case 2:
        dup2(s->orders[0], 0);
        execl(CHILD, CHILD, "wait-eof", (char *)NULL);
        _exit(1);
    default:
        if (fork() == 0) { /* it has every descriptor, also the holders' lines */
            prctl(PR_SET_NAME, "brood-copy", 0, 0, 0);
            close(s->held[1]);
            for (;;)
                pause();
        }
        kill(getpid(), SIGKILL);
    }
}

static void host_closes(void) {
    for (int i = 0; i < h->schedule->trees; i++) {
        brood_child_close(h->children[i]);
        h->children[i] = NULL;
        if (!uv_is_closing((uv_handle_t *)&h->acts[i]))
            uv_close((uv_handle_t *)&h->acts[i], NULL);
    }
    uv_close((uv_handle_t *)&h->orders, NULL);
}

static void host_is_told(uv_poll_t *poll, int status, int events) {
    (void)poll, (void)status, (void)events;
    host_closes();
}

/* What a host does with a tree, in no order that makes sense. */
static void host_acts(uv_timer_t *timer) {
    static const int signals[] = {SIGTERM, SIGKILL, SIGSTOP, SIGCONT, SIGUSR1};
    schedule *s = h->schedule;
    brood_child **child = timer->data;
    switch (below(s, 8)) {
    case 6:
        brood_child_freeze(*child);
        break;
    case 7:
        brood_child_thaw(*child);
        break;
    case 0:
    case 1:
        brood_child_kill_owned(*child, signals[below(s, 5)]);
        break;
    case 2:
        brood_child_stop(*child);
        break;
    case 3:
        brood_child_close(*child);
        *child = NULL;
        uv_close((uv_handle_t *)timer, NULL);
        return;
    case 4:
        if (s->victims == HOSTS && one_in(s, 3))
            host_leaves(s);
        break;
    default:
        brood_child_kill(*child, SIGKILL);
    }
    uv_timer_start(timer, host_acts, (uint64_t)below(s, 15), 0);
}

static void host_tells_nobody(brood_stream *stream, const char *bytes, size_t len, void *data) {
    (void)stream, (void)bytes, (void)len, (void)data;
}

static void host_starts(int i) {
    schedule *s = h->schedule;
    const char *roam = s->victims == HOSTS && !s->direct && one_in(s, 3) ? "roam" : NULL;
    int size = one_in(s, 20) ? 60 : 1 + below(s, MOST_SIZE);
    brood_slot held = {.slot = 3, .io = {.kind = BROOD_STDIO_FD, .fd = s->held[1]}};
    brood_options options = {
        .args = BROOD_ARGS(test_program("brood-thicket"), test_format("%d", below(s, 1 << 30)), test_format("%d", size),
                           roam),
        .env = (const char *const[]){s->mark, NULL},
        .in = {.kind = BROOD_STDIO_IGNORE},
        .out = {.kind = BROOD_STDIO_IGNORE},
        .slots = &held,
        .slot_count = 1,
        .own = BROOD_OWN_TREE,
        .require = s->kernel ? BROOD_GUARANTEE_KERNEL : BROOD_GUARANTEE_BEST_EFFORT,
        .kill_grace_ms = 1 + (uint64_t)below(s, 20),
        .offload = one_in(s, 3),
    };
    if (one_in(s, 3))
        options.out = (brood_stdio){.on_data = host_tells_nobody};
    if (one_in(s, 4))
        options.timeout_ms = 1 + (uint64_t)below(s, 20);
    brood_spawn(&h->loop, &options, &h->children[i], NULL); /* that it fails is no matter: its holder may be killed */
    uv_timer_init(&h->loop, &h->acts[i]);
    h->acts[i].data = &h->children[i];
    if (h->children[i] && one_in(s, 2))
        uv_timer_start(&h->acts[i], host_acts, (uint64_t)below(s, 15), 0);
}

/* Lives until it is killed, or told to end all. 0: nothing is left then that it would have to wait for. */
static int be_host(schedule *s) {
    siginfo_t zombie = {0};
    h = NEW(host);
    h->schedule = s;
    s->random = mix(s->seed + 1); /* not the judge's: both go on at the same time */
    alarm(60);
    signal(SIGABRT, SIG_DFL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0});
    close(s->held[0]);
    close(s->orders[1]);
    if (s->cgroup >= 0) {
        int procs = openat(s->cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);
        if (procs < 0 || write(procs, "0", 1) != 1)
            return 3;
        close(procs);
    }
    uv_loop_init(&h->loop);
    uv_poll_init(&h->loop, &h->orders, s->orders[0]);
    uv_poll_start(&h->orders, UV_READABLE | UV_DISCONNECT, host_is_told);
    for (int i = 0; i < s->trees; i++)
        host_starts(i);
    uv_run(&h->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&h->loop) < 0)
        return 4;
    brood__guard_done();
    return waitid(P_ALL, 0, &zombie, WNOHANG | WEXITED | WNOWAIT | __WALL) < 0 && errno == ECHILD ? 0 : 5;
}

/* --- what there is --- */

static bool look_at(pid_t pid, process *ret) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    char *name = strchr(text, '('), *end = strrchr(text, ')');
    int parent;
    if (!name || !end ||
        sscanf(end + 2, "%c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &ret->state,
               &parent, &ret->begun) != 3)
        return false;
    ret->pid = pid;
    ret->parent = parent;
    snprintf(ret->name, sizeof ret->name, "%.*s", (int)(end - name) + 1, name);
    ret->is_holder = strcmp(ret->name, "(brood-holder)") == 0 || strcmp(ret->name, "(brood-guard)") == 0;
    ret->is_copy = strcmp(ret->name, "(brood-copy)") == 0;
    return true;
}

static int list_all(process *all, int room) {
    int count = 0;
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; proc && count < room && (entry = readdir(proc));)
        count += entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && look_at(atoi(entry->d_name), &all[count]);
    if (proc)
        closedir(proc);
    return count;
}

/* All that descends from this process, moved to the front. */
static int list_below(process *all) {
    int count = list_all(all, MOST_BELOW), found = 0;
    for (bool more = true; more;) {
        more = false;
        for (int i = found; i < count; i++) {
            bool is_below = all[i].parent == getpid();
            for (int k = 0; k < found && !is_below; k++)
                is_below = all[k].pid == all[i].parent;
            if (!is_below)
                continue;
            process p = all[i];
            all[i] = all[found];
            all[found++] = p;
            more = true;
        }
    }
    return found;
}

/* What was done, for whoever has to find out what that led to. */
static void note(schedule *s, const char *whom, pid_t pid, int signal) {
    size_t len = strlen(s->story);
    snprintf(s->story + len, sizeof s->story - len, " %s %d: %s;", whom, (int)pid, brood_signal_name(signal));
}

/* Only to the one that was seen, as what it was then: a holder has another name until it has begun. */
static void signal_process(const process *p, int signal) {
    process now;
    int pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    if (pidfd < 0)
        return;
    if (look_at(p->pid, &now) && now.begun == p->begun && strcmp(now.name, p->name) == 0)
        syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
    close(pidfd);
}

/* --- what is done to it --- */

static void act_on_host(schedule *s) {
    static const int signals[] = {SIGKILL, SIGSTOP, SIGCONT};
    int signal = signals[below(s, 3)];
    if (s->host_killed || (s->victims == HOLDERS && signal == SIGKILL))
        return;
    note(s, "host", s->host, signal);
    kill(s->host, signal); /* it is not waited for yet */
    s->host_killed = signal == SIGKILL;
}

/* Between clone and exec, so that whoever starts it waits for it: a program, or a holder. */
static bool is_launch(const process *p) {
    process parent;
    return look_at(p->parent, &parent) && strcmp(parent.name, p->name) == 0 && !p->is_copy &&
           (p->is_holder || strstr(p->name, "test"));
}

/* Also where it has become another program: its descriptors were closed just before it has that one's name. */
static bool host_has_gone(const schedule *s) {
    process now;
    return test_process_gone(s->host) || !look_at(s->host, &now) || !strstr(now.name, "test");
}

static void act_on_holder(schedule *s, const process *p) {
    static const int signals[] = {SIGKILL, SIGKILL, SIGSTOP, SIGCONT, SIGTERM};
    int signal = signals[below(s, 5)];
    if (signal == SIGKILL && s->victims != HOLDERS)
        signal = SIGSTOP;
    if (signal == SIGSTOP && (s->host_killed || host_has_gone(s)))
        s->holder_stopped_late = true;
    if (signal == SIGSTOP && is_launch(p))
        return; /* as with any program, who stops it before its exec holds up its start */
    note(s, "holder", p->pid, signal);
    signal_process(p, signal);
    if (signal == SIGSTOP)
        nap_us(AFTERLIFE_US);
    if (signal == SIGSTOP && host_has_gone(s)) /* or it was about to */
        s->holder_stopped_late = true;
}

static void act_on_member(schedule *s, const process *p) {
    static const int signals[] = {SIGKILL, SIGKILL, SIGSTOP, SIGCONT, SIGTERM};
    int signal = signals[below(s, 5)];
    if (signal == SIGSTOP && is_launch(p))
        return;
    note(s, "member", p->pid, signal);
    signal_process(p, signal);
}

static void act(schedule *s) {
    static process all[MOST_BELOW];
    nap_at_random(s);
    int count = list_below(all), who = below(s, 3);
    if (who == 0)
        act_on_host(s);
    for (int i = 0, from = below(s, count > 0 ? count : 1); i < count && who != 0; i++) {
        const process *p = &all[(from + i) % count];
        if (p->pid == s->host || p->is_holder != (who == 1))
            continue;
        if (who == 1)
            act_on_holder(s, p);
        else
            act_on_member(s, p);
        break;
    }
}

/* By whichever way, the trees are to end now. */
static void come_to_the_end(schedule *s) {
    bool by_kill = s->victims == HOSTS && one_in(s, 2);
    note(s, "in the end host", s->host, by_kill ? SIGKILL : SIGCONT);
    if (!s->host_killed)
        kill(s->host, by_kill ? SIGKILL : SIGCONT);
    s->host_killed = s->host_killed || by_kill;
    close(s->orders[1]);
}

/* What nobody has promised to do. */
static void clear_the_way(schedule *s) {
    static process all[MOST_BELOW];
    for (int i = list_below(all); i-- > 0;) {
        if (all[i].is_copy)
            signal_process(&all[i], SIGKILL);
        if (all[i].is_holder && s->holder_stopped_late)
            signal_process(&all[i], SIGCONT);
    }
}

/* --- the judgement --- */

static void tell_survivors(const char *what) {
    static process all[MOST_BELOW];
    fprintf(stderr, "%s:\n", what);
    for (int i = 0, count = list_below(all); i < count; i++) {
        const process *p = &all[i];
        const char *in = strstr(test_read_file(test_format("/proc/%d/cgroup", (int)p->pid)), "0::/");
        if (i < MOST_TOLD)
            fprintf(stderr, "  %d %c %s child of %d, in %s", (int)p->pid, p->state, p->name, (int)p->parent,
                    in ? in : "?\n");
        signal_process(p, SIGKILL);
    }
}

/* All that held the pipe have gone. */
static bool pipe_ends(schedule *s, uint64_t until_ms) {
    struct pollfd end = {.fd = s->held[0], .events = POLLIN};
    bool ended = false;
    while (!ended && test_now_ms() < until_ms) {
        ended = poll(&end, 1, CLEAR_MS) == 1;
        if (!ended)
            clear_the_way(s);
    }
    return ended;
}

/* Whoever is left of anything becomes a child of this process, also zombies. -1: somebody is left. */
static int wait_for_all(schedule *s, uint64_t until_ms) {
    for (uint64_t clear_ms = test_now_ms();;) {
        if (test_now_ms() >= clear_ms) {
            clear_the_way(s);
            clear_ms = test_now_ms() + CLEAR_MS;
        }
        int status, result = 0;
        pid_t pid = waitpid(-1, &status, WNOHANG | __WALL);
        if (pid < 0 && errno == ECHILD)
            return s->host_waited ? 0 : -1;
        if (pid == s->host && (WIFEXITED(status) || WIFSIGNALED(status))) {
            s->host_waited = true;
            if (!s->host_killed && s->victims == HOLDERS)
                result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        if (result != 0)
            return result;
        if (pid == 0 && test_now_ms() >= until_ms)
            return -1;
        if (pid == 0)
            nap_us(200);
    }
}

static int count_marked(const schedule *s) {
    static process all[MOST_BELOW];
    int marked = 0;
    for (int i = list_all(all, MOST_BELOW); i-- > 0;) {
        char path[64], text[4096];
        snprintf(path, sizeof path, "/proc/%d/environ", (int)all[i].pid);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
        if (fd >= 0)
            close(fd);
        marked += n > 0 && memmem(text, (size_t)n, s->mark, strlen(s->mark) + 1);
    }
    return marked;
}

static int count_cgroups(const schedule *s, const char **ret_one) {
    int count = 0, again = s->cgroup < 0 ? -1 : openat(s->cgroup, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = again < 0 ? NULL : fdopendir(again);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        *ret_one = test_format("%s", entry->d_name);
        count++;
    }
    if (dir)
        closedir(dir);
    return count;
}

static void judge(schedule *s) {
    uint64_t until_ms = test_now_ms() + BOUND_MS * (uint64_t)test_slow();
    const char *seed = test_format("seed %llu, where%s", (unsigned long long)s->seed, s->story);
    bool ended = pipe_ends(s, until_ms);
    int left = ended ? wait_for_all(s, until_ms) : -1;
    if (!ended || left < 0)
        tell_survivors(ended ? "alive, without the pipe" : "alive");
    if (!ended || left != 0)
        test_fail(__FILE__, __LINE__, "%s: %s, %d", seed, left < 0 ? "somebody is left" : "the host has ended badly",
                  left);
    if (count_marked(s) != 0)
        test_fail(__FILE__, __LINE__, "%s: a process with the mark is left", seed);
    const char *one;
    int cgroups = count_cgroups(s, &one);
    if (cgroups != 0)
        test_fail(__FILE__, __LINE__, "%s: %d cgroups are left, as %s", seed, cgroups, one);
}

static void run_schedule(schedule *s) {
    s->random = mix(s->seed);
    s->victims = (victims)(s->kernel ? below(s, VICTIM_KINDS) : HOSTS);
    s->trees = 1 + below(s, MOST_TREES);
    snprintf(s->mark, sizeof s->mark, "BROOD_SCHEDULE=%d-%llu", (int)getpid(), (unsigned long long)s->seed);
    CHECK_EQ(pipe2(s->held, O_CLOEXEC), 0);
    CHECK_EQ(pipe2(s->orders, O_CLOEXEC), 0);
    s->host = fork();
    CHECK_GE(s->host, 0);
    if (s->host == 0)
        _exit(be_host(s));
    close(s->held[1]);
    close(s->orders[0]);
    for (int actions = 1 + below(s, MOST_ACTIONS); actions > 0; actions--)
        act(s);
    come_to_the_end(s);
    judge(s);
    close(s->held[0]);
}

static uint64_t first_seed(void) {
    const char *given = getenv("BROOD_TEST_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return given ? strtoull(given, NULL, 10) : mix((uint64_t)now.tv_sec ^ (uint64_t)now.tv_nsec << 20) % 1000000000;
}

static void run_schedules(bool kernel, bool direct, int cgroup) {
    const char *count = getenv("BROOD_TEST_SCHEDULES");
    uint64_t first = first_seed();
    int wanted = count ? atoi(count) : getenv("BROOD_TEST_MANY") ? MANY : FEW;
    printf("%d schedules from seed %llu on\n", wanted, (unsigned long long)first);
    fflush(stdout);
    brood__guard_done(); /* of this process: it is no host's */
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    for (int i = 0; i < wanted && !test_failed(); i++)
        run_schedule(&(schedule){.seed = first + (uint64_t)i, .kernel = kernel, .direct = direct, .cgroup = cgroup});
}

/* --- the three ways --- */

static void remove_cgroup(void *path) {
    ENSURE(rmdir(path) == 0);
}

/* One of its own for the hosts, so that whatever is left in it is theirs; NULL: there can be none. */
static char *make_cgroup(void) {
    const char *own = test_cgroup();
    char *path = (char *)(uintptr_t)test_format("%s/schedules-%d", own ? own : "", (int)getpid());
    return own && mkdir(path, 0755) == 0 ? path : NULL;
}

static void run_with_a_cgroup(test *t, bool direct) {
    brood_failure why;
    char *path = make_cgroup();
    if (!path)
        SKIP("no cgroup here");
    DEFER(remove_cgroup, path);
    watch *w = watch_new();
    brood_options options = {
        .args = BROOD_ARGS(CHILD), .own = BROOD_OWN_TREE, .require = BROOD_GUARANTEE_KERNEL, WATCH(w)};
    int r = brood_spawn(t->loop, &options, NULL, &why);
    RUN();
    if (r == -EOPNOTSUPP)
        SKIP("no cgroup for a tree here");
    CHECK_EQ(r, 0);
    run_schedules(true, direct, test_fd(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
}

TEST(schedules_started_into_a_cgroup) {
    run_with_a_cgroup(t, true);
}

TEST(schedules_with_a_holder_and_a_cgroup) {
    brood__probe_force("direct", true);
    run_with_a_cgroup(t, false);
    brood__probe_force("direct", false);
}

TEST(schedules_by_the_holder_alone) {
    brood__probe_force("cgroup", true);
    run_schedules(false, false, -1);
    brood__probe_force("cgroup", false);
}
