/**
 * The limit: how fast can a program be started, its output read to the end, and its end collected, by the bare system
 * calls that brood makes? One epoll, pipes, pidfds; no library. `inline` starts on the thread that watches, `threads`
 * is two such loops side by side, each with half of the work, `handover` has a second thread start, woken by a
 * condition variable, which tells by an eventfd that it has. `ahead` is `inline` without waiting until a program runs.
 * `kept` has a second thread do all that, woken by an eventfd, which tells by another what has ended.
 *
 *     bench-bare inline|threads|handover|ahead|kept N CONCURRENCY MB PROGRAM [ARG...]
 */
#include "bare.h"

#include <pthread.h>
#include <sys/eventfd.h>

typedef struct job {
    bare_child child;
    bare_program program;
    char *stack; /* ahead: its own; else NULL */
    int out_fd;
    uint64_t since_ns;
} job;

/** One loop: it starts `n`, at most `c` at a time. */
typedef struct loop {
    char *const *args;
    unsigned n, c;
    unsigned started, running, done;
    uint32_t *took_us; /* its part of the run's */
    int epoll_fd;
    char *stack;
    job *jobs;
    /* handover: indices of jobs that are to be started, and that have been */
    bool hands_over;
    unsigned *asked, asked_first, asked_count;
    unsigned *told, told_count;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int event_fd;
    /* kept: the same, and who is to be woken has been */
    bool keeps, is_woken_here, is_woken_there;
    int there_fd, here_epoll_fd;
    unsigned *taken;
} loop;

enum { OUTPUT, PROCESS, STARTED, ASKED };

/** What an event says: the job in the upper half, which of its two descriptors in the lower. */
static void watch(const loop *l, int fd, unsigned index, unsigned which) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)index << 32 | which};
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        bench_fail("epoll_ctl", strerror(errno));
}

/** Whichever thread this is. */
static void start_program(loop *l, unsigned index) {
    job *j = &l->jobs[index];
    int pipe_fds[2];

    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0)
        bench_fail("pipe", strerror(errno));
    fcntl(pipe_fds[0], F_SETFL, O_RDONLY | O_NONBLOCK);

    j->program = (bare_program){.args = l->args, .fds = {null_fd, pipe_fds[1], 2}};
    bare_clone(&j->program, j->stack ? j->stack : l->stack, j->stack ? 0 : CLONE_VFORK, &j->child);
    close(null_fd);
    close(pipe_fds[1]);
    j->out_fd = pipe_fds[0];
}

static void watch_program(loop *l, unsigned index) {
    watch(l, l->jobs[index].out_fd, index, OUTPUT);
    watch(l, l->jobs[index].child.pidfd, index, PROCESS);
}

static void ring(int event_fd) {
    if (write(event_fd, &(uint64_t){1}, 8) != 8)
        bench_fail("eventfd", strerror(errno));
}

static bool has_rung(int event_fd) {
    uint64_t ignored;
    return read(event_fd, &ignored, 8) == 8;
}

static void *start_what_is_asked(void *arg) {
    loop *l = arg;
    for (;;) {
        pthread_mutex_lock(&l->lock);
        while (l->asked_count == 0)
            pthread_cond_wait(&l->wake, &l->lock);
        unsigned index = l->asked[l->asked_first++ % l->c];
        l->asked_count--;
        pthread_mutex_unlock(&l->lock);
        start_program(l, index);
        pthread_mutex_lock(&l->lock);
        l->told[l->told_count++] = index;
        pthread_mutex_unlock(&l->lock);
        ring(l->event_fd);
    }
    return NULL;
}

/** Those that were started meanwhile. */
static void watch_started(loop *l) {
    if (!has_rung(l->event_fd))
        return;
    pthread_mutex_lock(&l->lock);
    while (l->told_count > 0)
        watch_program(l, l->told[--l->told_count]);
    pthread_mutex_unlock(&l->lock);
}

/** For the thread that keeps all. */
static void ask_for(loop *l, unsigned index) {
    pthread_mutex_lock(&l->lock);
    l->asked[(l->asked_first + l->asked_count++) % l->c] = index;
    bool rings = !l->is_woken_there;
    l->is_woken_there = true;
    pthread_mutex_unlock(&l->lock);
    if (rings)
        ring(l->there_fd);
}

static void start(loop *l, unsigned index) {
    l->jobs[index].since_ns = bench_now_ns();
    l->started++;
    l->running++;
    if (l->keeps) {
        ask_for(l, index);
        return;
    }
    if (!l->hands_over) {
        start_program(l, index);
        watch_program(l, index);
        return;
    }
    pthread_mutex_lock(&l->lock);
    l->asked[(l->asked_first + l->asked_count++) % l->c] = index;
    pthread_mutex_unlock(&l->lock);
    pthread_cond_signal(&l->wake);
}

static void open_ahead(loop *l) {
    for (unsigned i = 0; i < l->c; i++)
        l->jobs[i].stack = bare_stack_new();
}

static void open_thread(loop *l, void *(*main)(void *)) {
    pthread_t thread;
    l->asked = calloc(l->c, sizeof *l->asked);
    l->told = calloc(l->c, sizeof *l->told);
    if (!l->asked || !l->told || pthread_mutex_init(&l->lock, NULL) != 0 || pthread_cond_init(&l->wake, NULL) != 0 ||
        pthread_create(&thread, NULL, main, l) != 0)
        bench_fail("thread", "cannot be made");
}

static void open_handover(loop *l) {
    l->hands_over = true;
    l->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    watch(l, l->event_fd, 0, STARTED);
    open_thread(l, start_what_is_asked);
}

static void read_output(loop *l, job *j) {
    static __thread char bytes[65536];
    ssize_t n = read(j->out_fd, bytes, sizeof bytes);
    if (n > 0 || (n < 0 && errno == EAGAIN))
        return;
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, j->out_fd, NULL);
    close(j->out_fd);
    j->out_fd = -1;
}

static void collect(loop *l, job *j) {
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, j->child.pidfd, NULL);
    bare_reap(&j->child);
}

/* --- kept --- */

static void start_asked(loop *l) {
    if (!has_rung(l->there_fd))
        return;
    pthread_mutex_lock(&l->lock);
    l->is_woken_there = false;
    while (l->asked_count > 0) {
        unsigned index = l->asked[l->asked_first++ % l->c];
        l->asked_count--;
        pthread_mutex_unlock(&l->lock);
        start_program(l, index);
        watch_program(l, index);
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
}

static void tell(loop *l, const unsigned *ended, unsigned count) {
    pthread_mutex_lock(&l->lock);
    for (unsigned i = 0; i < count; i++)
        l->told[l->told_count++] = ended[i];
    bool rings = !l->is_woken_here;
    l->is_woken_here = true;
    pthread_mutex_unlock(&l->lock);
    if (rings)
        ring(l->event_fd);
}

static void *keep(void *arg) {
    loop *l = arg;
    for (;;) {
        struct epoll_event events[128];
        unsigned ended[128], ended_count = 0;
        int count = epoll_wait(l->epoll_fd, events, 128, -1);
        for (int i = 0; i < count; i++) {
            unsigned index = (unsigned)(events[i].data.u64 >> 32), which = (unsigned)(events[i].data.u64 & 3);
            job *j = &l->jobs[index];
            if (which == ASKED) {
                start_asked(l);
                continue;
            }
            if (which == OUTPUT)
                read_output(l, j);
            else
                collect(l, j);
            if (j->out_fd < 0 && j->child.pidfd < 0)
                ended[ended_count++] = index;
        }
        if (ended_count > 0)
            tell(l, ended, ended_count);
    }
    return NULL;
}

static void open_keeper(loop *l) {
    struct epoll_event event = {.events = EPOLLIN};
    open_ahead(l);
    l->keeps = true;
    l->taken = calloc(l->c, sizeof *l->taken);
    l->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->there_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->here_epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ctl(l->here_epoll_fd, EPOLL_CTL_ADD, l->event_fd, &event) < 0)
        bench_fail("epoll_ctl", strerror(errno));
    watch(l, l->there_fd, 0, ASKED);
    open_thread(l, keep);
}

static void take_told(loop *l) {
    if (!has_rung(l->event_fd))
        return;
    pthread_mutex_lock(&l->lock);
    l->is_woken_here = false;
    unsigned *told = l->told, count = l->told_count;
    l->told = l->taken;
    l->taken = told;
    l->told_count = 0;
    pthread_mutex_unlock(&l->lock);
    for (unsigned i = 0; i < count; i++) {
        l->took_us[l->done++] = (uint32_t)((bench_now_ns() - l->jobs[told[i]].since_ns) / 1000);
        l->running--;
        if (l->started < l->n)
            start(l, told[i]);
    }
}

static void run_kept(loop *l) {
    for (unsigned i = 0; i < l->c && l->started < l->n; i++)
        start(l, i);
    while (l->running > 0) {
        struct epoll_event event;
        if (epoll_wait(l->here_epoll_fd, &event, 1, -1) > 0)
            take_told(l);
    }
}

static void *run(void *arg) {
    loop *l = arg;

    for (unsigned i = 0; i < l->c && l->started < l->n; i++)
        start(l, i);
    while (l->running > 0) {
        struct epoll_event events[128];
        int count = epoll_wait(l->epoll_fd, events, 128, -1);
        for (int i = 0; i < count; i++) {
            unsigned index = (unsigned)(events[i].data.u64 >> 32);
            job *j = &l->jobs[index];
            if ((events[i].data.u64 & 3) == STARTED) {
                watch_started(l);
                continue;
            }
            if ((events[i].data.u64 & 3) == OUTPUT)
                read_output(l, j);
            else
                collect(l, j);
            if (j->out_fd >= 0 || j->child.pidfd >= 0)
                continue;
            l->took_us[l->done++] = (uint32_t)((bench_now_ns() - j->since_ns) / 1000);
            l->running--;
            if (l->started < l->n)
                start(l, index);
        }
    }
    return NULL;
}

static void loop_open(loop *l, char *const *args, unsigned c) {
    *l = (loop){.args = args, .c = c, .epoll_fd = epoll_create1(EPOLL_CLOEXEC), .stack = bare_stack_new()};
    l->jobs = calloc(c, sizeof *l->jobs);
    if (l->epoll_fd < 0 || !l->jobs)
        bench_fail("loop", strerror(errno));
}

static void loop_again(loop *l, unsigned n, uint32_t *took_us) {
    l->n = n;
    l->took_us = took_us;
    l->started = l->running = l->done = 0;
}

int main(int argc, char **argv) {
    if (argc < 6)
        bench_fail("usage", "bench-bare inline|threads|handover|ahead|kept N CONCURRENCY MB PROGRAM [ARG...]");
    bool threads = strcmp(argv[1], "threads") == 0;
    bench_run r = {.peer = "bare",
                   .variant = argv[1],
                   .n = bench_number(argv[2]),
                   .c = bench_number(argv[3]),
                   .mb = bench_number(argv[4])};
    unsigned half = threads ? r.n / 2 : 0;
    loop here, there;

    bench_raise_descriptors();
    bench_ballast(r.mb);
    loop_open(&here, argv + 5, threads ? (r.c + 1) / 2 : r.c);
    loop_open(&there, argv + 5, (r.c + 1) / 2);
    if (strcmp(argv[1], "handover") == 0)
        open_handover(&here);
    if (strcmp(argv[1], "ahead") == 0)
        open_ahead(&here);
    if (strcmp(argv[1], "kept") == 0)
        open_keeper(&here);

    while (bench_next_round()) {
        pthread_t thread;
        bench_run_begin(&r);
        loop_again(&here, r.n - half, r.took_us);
        loop_again(&there, half, r.took_us + (r.n - half));
        if (half > 0 && pthread_create(&thread, NULL, run, &there) != 0)
            bench_fail("thread", "cannot be made");
        if (here.keeps)
            run_kept(&here);
        else
            run(&here);
        if (half > 0)
            pthread_join(thread, NULL);
        r.taken = r.n;
        bench_run_end(&r, NULL);
    }
    return 0;
}
