/*
 * Runs one test in this process, and looks at what it leaves: handles on the loop, descriptors, children, allocations
 * of the library. It owns the loop, the temporary directory and the clean-up list of that test. Hard here: in torture
 * mode a test gives up in the middle, with children running and callbacks to come; then the loop is emptied first, and
 * only afterwards is given back what those callbacks may still touch.
 */
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/fault.h"
#include "loop/starters.h"
#include "own/guard.h"
#include "own/place.h"

typedef struct deferred {
    void (*fn)(void *);
    void *arg;
} deferred;

typedef struct descriptors {
    size_t count;
    struct {
        int fd;
        char target[120];
    } list[4096];
} descriptors;

static test_entry *entries;
static test here;
static deferred deferreds[1024];
static size_t deferred_count;
static void *blocks[65536];
static size_t block_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char first_failure[600]; /* torture: why the test gave up, shown if something is left */
static int leaks;
static bool skipped;
static uint64_t last_event_ms; /* torture: when something came last */

/* --- the list --- */

void test_register(test_entry *entry) {
    test_entry **at = &entries;
    while (*at && strcmp((*at)->name, entry->name) < 0)
        at = &(*at)->next;
    if (*at && strcmp((*at)->name, entry->name) == 0) {
        fprintf(stderr, "two tests are called %s: %s:%d and %s:%d\n", entry->name, (*at)->file, (*at)->line,
                entry->file, entry->line);
        exit(2);
    }
    entry->next = *at;
    *at = entry;
}

test_entry *test_first(void) {
    return entries;
}

test_entry *test_find(const char *name) {
    test_entry *entry = entries;
    while (entry && strcmp(entry->name, name) != 0)
        entry = entry->next;
    return entry;
}

/* --- failing --- */

static const char *short_name(const char *file) {
    const char *tests = strstr(file, "tests/");
    return tests ? tests : file;
}

void test_fail(const char *file, int line, const char *format, ...) {
    char text[500];
    int err = errno;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (here.torture) { /* expected: something was made to fail */
        pthread_mutex_lock(&lock);
        if (!here.failed)
            snprintf(first_failure, sizeof first_failure, "%s:%d: %s", short_name(file), line, text);
        here.failed = true;
        pthread_mutex_unlock(&lock);
        return;
    }
    fprintf(stderr, "%s:%d: %s (errno: %s)\n", short_name(file), line, text, strerror(err));
    fflush(NULL);
    _exit(1);
}

void test_skip(const char *file, int line, const char *reason) {
    printf("skip: %s (%s:%d)\n", reason, short_name(file), line);
    skipped = true;
    here.failed = here.torture;
}

bool test_failed(void) {
    return here.failed;
}

static void leak(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void leak(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: left behind: ", here.name);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    leaks++;
}

/* --- the loop --- */

uv_loop_t *test_loop(void) {
    return here.loop;
}

void test_event(void) {
    last_event_ms = test_now_ms();
}

static void tick(uv_timer_t *timer) {
    (void)timer;
}

/* In torture mode what a test waits for may never come. It keeps the loop turning, and from holding it. */
static void start_ticking(void) {
    static uv_timer_t ticker;
    uv_timer_init(here.loop, &ticker);
    uv_timer_start(&ticker, tick, 100, 100);
    uv_unref((uv_handle_t *)&ticker);
    test_event();
}

static bool is_silent(void) {
    return here.torture && test_now_ms() - last_event_ms > 700 * (uint64_t)test_slow();
}

bool test_run(void) {
    while (!here.failed && uv_run(here.loop, here.torture ? UV_RUN_ONCE : UV_RUN_DEFAULT) != 0)
        if (is_silent())
            test_fail(__FILE__, __LINE__, "nothing came any more");
    return !here.failed;
}

bool test_turn(const char *file, int line, const char *condition) {
    int alive = uv_run(here.loop, UV_RUN_ONCE);
    if (!alive && !uv_loop_alive(here.loop) && !here.failed) {
        /* the last turn may have brought it */
        static const char *waited_for;
        static int times;
        times = waited_for == condition ? times + 1 : 1;
        waited_for = condition;
        if (times > 2)
            test_fail(file, line, "the loop ran dry before %s", condition);
    }
    if (is_silent())
        test_fail(file, line, "nothing came any more before %s", condition);
    return !here.failed;
}

/* uv_run may run timers before it polls, and would then wait for something else: not once it is to stop. */
static void set_flag(uv_timer_t *timer) {
    *(bool *)timer->data = true;
    uv_stop(timer->loop);
}

void test_idle(unsigned ms) {
    bool *over = NEW(bool);
    uv_timer_t *timer = NEW(uv_timer_t);
    uv_timer_init(here.loop, timer);
    timer->data = over;
    uv_timer_start(timer, set_flag, ms, 0);
    while (!*over && !here.failed)
        uv_run(here.loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)timer, NULL);
}

void test_nap(void) {
    if (is_silent())
        test_fail(__FILE__, __LINE__, "nothing came any more");
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* --- memory and clean-up --- */

void *test_alloc(size_t size) {
    void *block = calloc(1, size ? size : 1);
    pthread_mutex_lock(&lock);
    if (!block || block_count == sizeof blocks / sizeof *blocks)
        abort();
    blocks[block_count++] = block;
    pthread_mutex_unlock(&lock);
    return block;
}

const char *test_format(const char *format, ...) {
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = test_alloc((size_t)len + 1);
    va_start(args, format);
    vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    return text;
}

void test_defer(void (*fn)(void *), void *arg) {
    if (deferred_count == sizeof deferreds / sizeof *deferreds)
        abort();
    deferreds[deferred_count++] = (deferred){fn, arg};
}

static void close_fd(void *arg) {
    close((int)(intptr_t)arg);
}

int test_fd(int fd) {
    if (fd >= 0)
        test_defer(close_fd, (void *)(intptr_t)fd);
    return fd;
}

/* --- helpers --- */

const char *test_program(const char *name) {
    const char *dir = getenv("BROOD_TEST_BIN_DIR");
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    self[len > 0 ? len : 0] = 0;
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = 0;
    return test_format("%s/%s", dir && *dir ? dir : self, name);
}

const char *test_source(const char *name) {
    const char *dir = getenv("BROOD_TEST_SOURCES");
    return test_format("%s/%s", dir && *dir ? dir : BROOD_TEST_SOURCES, name);
}

const char *test_child(void) {
    static char path[PATH_MAX + 32];
    if (!*path)
        snprintf(path, sizeof path, "%s", test_program("brood-child"));
    return path;
}

const char *test_child_for_everybody(test *t) {
    const char *path = test_path(t, "brood-child");
    size_t len = 0;
    struct stat st;
    int in = open(CHILD, O_RDONLY | O_CLOEXEC), out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    ENSURE(in >= 0 && out >= 0 && fstat(in, &st) == 0);
    char *bytes = test_alloc((size_t)st.st_size);
    for (ssize_t n; (n = read(in, bytes + len, (size_t)st.st_size - len)) > 0;)
        len += (size_t)n;
    ENSURE(write(out, bytes, len) == (ssize_t)len && fchmod(out, 0755) == 0);
    close(in);
    close(out);
    return path;
}

bool test_is_emulated(void) {
    const char *preloaded = getenv("LD_PRELOAD");
    return preloaded && strstr(preloaded, "vgpreload");
}

long test_slow(void) {
    const char *slow = getenv("BROOD_TEST_SLOW");
    long factor = slow ? atol(slow) : 1;
    return factor > 0 ? factor : 1;
}

const char *test_path(test *t, const char *name) {
    return test_format("%s/%s", t->tmp, name);
}

void test_write_file(const char *path, const void *bytes, size_t len, int mode) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ENSURE(fd >= 0);
    ENSURE(write(fd, bytes, len) == (ssize_t)len);
    ENSURE(fchmod(fd, (mode_t)mode) == 0);
    close(fd);
}

const char *test_read_file(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return "";
    size_t len = 0, room = 1 << 20;
    char *text = test_alloc(room);
    for (ssize_t n; (n = read(fd, text + len, room - 1 - len)) > 0;)
        len += (size_t)n;
    close(fd);
    return text;
}

char test_process_state(pid_t pid) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    char *paren = strrchr(text, ')');
    return paren && paren[1] == ' ' ? paren[2] : 0;
}

static const char *cgroup_mount(void) {
    return access("/sys/fs/cgroup/unified", F_OK) == 0 ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup";
}

const char *test_cgroup_named(const char *text) {
    const char *line = strstr(text, "0::/");
    return line ? test_format("%s%.*s", cgroup_mount(), (int)strcspn(line + 3, "\n"), line + 3) : "";
}

const char *test_cgroup(void) {
    const char *own = test_cgroup_named(test_read_file("/proc/self/cgroup"));
    return *own && access(test_format("%s/cgroup.procs", cgroup_mount()), F_OK) == 0 ? own : NULL;
}

bool test_write_existing(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return written;
}

bool test_process_gone(pid_t pid) {
    char state = test_process_state(pid);
    return state == 0 || state == 'Z' || state == 'X';
}

uint64_t test_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --- what is left --- */

static void list_descriptors(descriptors *ret) {
    ret->count = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] == '.' || fd == dirfd(dir) || ret->count == sizeof ret->list / sizeof *ret->list)
            continue;
        ssize_t len =
            readlinkat(dirfd(dir), entry->d_name, ret->list[ret->count].target, sizeof ret->list[0].target - 1);
        ret->list[ret->count].target[len > 0 ? len : 0] = 0;
        if (strstr(ret->list[ret->count].target, "memfd:brood-holder"))
            continue; /* as a starter thread: kept for the life of the process */
        ret->list[ret->count++].fd = fd;
    }
    closedir(dir);
}

/* The loop is told of a start before the thread that tells it is through. */
void test_await_starters(void) {
    for (uint64_t until_ms = test_now_ms() + 5000; !brood__starters_are_idle() && test_now_ms() < until_ms;
         usleep(100)) {}
}

size_t test_count_fds(void) {
    static descriptors now;
    test_await_starters();
    brood__guard_done(); /* it stays for the life of the process, unless it has nothing to do */
    list_descriptors(&now);
    return now.count;
}

/* What the guard was to take away, and what no guard knew of. An older one is of a process that had this number. */
static bool find_cgroup(uint64_t begun_ms, char ret_name[NAME_MAX + 1]) {
    char prefix[32];
    bool found = false;
    int own = brood__place_own(BROOD__UNIFIED);
    DIR *dir = own < 0 ? NULL : fdopendir(own);
    snprintf(prefix, sizeof prefix, "brood-guard-%d-", (int)getpid());
    for (struct dirent *entry; dir && !found && (entry = readdir(dir));) {
        found = strncmp(entry->d_name, prefix, strlen(prefix)) == 0 &&
                strtoull(entry->d_name + strlen(prefix), NULL, 10) / 1000000 >= begun_ms;
        snprintf(ret_name, NAME_MAX + 1, "%s", entry->d_name);
    }
    if (dir)
        closedir(dir);
    return found;
}

/* The guard is no child of ours, and may be at it still. */
static void check_cgroups(uint64_t begun_ms) {
    char name[NAME_MAX + 1];
    for (uint64_t until_ms = test_now_ms() + 5000; find_cgroup(begun_ms, name); usleep(1000))
        if (test_now_ms() > until_ms) {
            leak("cgroup %s", name);
            return;
        }
}

static const char *target_of(const descriptors *in, int fd) {
    for (size_t i = 0; i < in->count; i++)
        if (in->list[i].fd == fd)
            return in->list[i].target;
    return NULL;
}

static void check_descriptors(const descriptors *before) {
    static descriptors after;
    list_descriptors(&after);
    for (size_t i = 0; i < after.count; i++) {
        const char *was = target_of(before, after.list[i].fd);
        if (!was)
            leak("descriptor %d: %s", after.list[i].fd, after.list[i].target);
        else if (strcmp(was, after.list[i].target) != 0)
            leak("descriptor %d: was %s, is %s", after.list[i].fd, was, after.list[i].target);
    }
    for (size_t i = 0; i < before->count; i++)
        if (!target_of(&after, before->list[i].fd))
            leak("descriptor %d: was %s, and is closed", before->list[i].fd, before->list[i].target);
}

static void describe_process(int pid, char *text, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, size - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    for (ssize_t i = 0; i + 1 < n; i++)
        if (text[i] == 0)
            text[i] = ' ';
}

static void check_children(void) {
    char text[200];
    siginfo_t info = {0};
    if (waitid(P_ALL, 0, &info, WNOHANG | WEXITED | WNOWAIT | __WALL) < 0)
        return; /* ECHILD: none */
    if (info.si_pid)
        leak("zombie %d, status %d", (int)info.si_pid, info.si_status);
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        char path[300];
        snprintf(path, sizeof path, "/proc/self/task/%s/children", task->d_name);
        FILE *list = task->d_name[0] == '.' ? NULL : fopen(path, "re");
        for (int pid; list && fscanf(list, "%d", &pid) == 1;) {
            describe_process(pid, text, sizeof text);
            leak("child %d (%c): %s", pid, test_process_state(pid), text);
        }
        if (list)
            fclose(list);
    }
    if (tasks)
        closedir(tasks);
    if (!leaks)
        leak("a child");
}

static void name_handle(uv_handle_t *handle, void *arg) {
    (void)arg;
    leak("handle %s%s%s%s", uv_handle_type_name(uv_handle_get_type(handle)), uv_is_active(handle) ? " active" : "",
         uv_has_ref(handle) ? " ref" : "", uv_is_closing(handle) ? " closing" : "");
}

static void close_foreign(uv_handle_t *handle, void *arg) {
    if (!uv_is_closing(handle) && !brood_loop_owns(arg, handle))
        uv_close(handle, NULL);
}

static void set_true(uv_loop_t *loop, void *data) {
    (void)loop;
    *(bool *)data = true;
}

/* A test that gave up: end what it had begun, as a host would that wants to leave. */
static void empty_loop(void) {
    static bool closed;
    int r = brood_loop_close(here.loop, set_true, &closed);
    if (r == 0)
        while (!closed && uv_run(here.loop, UV_RUN_ONCE) != 0) {}
    if (r == 0 && !closed)
        leak("brood_loop_close never called back");
    if (r != 0 && r != -ENOENT)
        leak("brood_loop_close returned %d", r);
    uv_walk(here.loop, close_foreign, here.loop);
    uv_run(here.loop, UV_RUN_DEFAULT);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where) {
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

/* --- one run --- */

static void write_count(const char *path, long count) {
    FILE *file = path ? fopen(path, "we") : NULL;
    if (!file)
        return;
    fprintf(file, "%ld\n", count);
    fclose(file);
}

/* What the first start of a process learns is known: so that the quicker ways of the next ones are tested. */
static void start_one(void) {
    brood_result result;
    brood_spawn_sync(&(brood_options){.args = BROOD_ARGS("true"), .own = BROOD_OWN_CHILD}, &result);
    brood_result_done(&result);
}

/* fault -1: as it is; 0: count the fallible calls, and write the number to count_path; n: the n-th fails */
int test_run_here(const test_entry *entry, long fault, const char *count_path) {
    static descriptors before;
    static uv_loop_t loop;
    static char tmp[PATH_MAX];
    const char *given = getenv("BROOD_TEST_TMP"), *base = getenv("TMPDIR");
    snprintf(tmp, sizeof tmp, "%s", given ? given : "");
    if (!given) {
        snprintf(tmp, sizeof tmp, "%s/brood-test-XXXXXX", base && *base ? base : "/tmp");
        if (!mkdtemp(tmp) || chmod(tmp, 0755) < 0)
            return 2;
    }
    here = (test){.name = entry->name, .loop = &loop, .tmp = tmp, .torture = fault > 0, .brief = fault >= 0};
    if (test_slow() > 1)
        setenv("BROOD_CHILD_LIFE", test_format("%ld", 60 * test_slow()), 1);
    if (getenv("BROOD_TEST_WARM"))
        start_one();
    uint64_t begun_ms = test_now_ms();
    uv_loop_init(&loop); /* what libuv keeps for the process is there from now on */
    uv_loop_close(&loop);
    list_descriptors(&before);
    uv_loop_init(&loop);
    if (fault > 0)
        start_ticking();
    if (fault >= 0)
        brood__fault_arm(fault, 0);

    entry->body(&here);
    if (here.torture)
        empty_loop();
    if (fault == 0)
        write_count(count_path, brood__fault_count());
    brood__fault_arm(0, 0);
    while (deferred_count > 0) {
        deferred last = deferreds[--deferred_count];
        last.fn(last.arg);
    }
    int r = uv_loop_close(&loop);
    if (r != 0) {
        leak("the loop does not close: %s", uv_err_name(r));
        uv_walk(&loop, name_handle, NULL);
    }
    test_await_starters();
    brood__guard_done();
    check_descriptors(&before);
    check_children();
    check_cgroups(begun_ms);
    if (brood__live_allocations() != 0)
        leak("%ld allocations", brood__live_allocations());
    if (leaks && *first_failure)
        fprintf(stderr, "the test had given up: %s\n", first_failure);
    while (block_count > 0)
        free(blocks[--block_count]);
    if (!given)
        nftw(tmp, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    fflush(NULL);
    return leaks ? 1 : skipped ? 77 : 0;
}
