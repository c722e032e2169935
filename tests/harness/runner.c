/*
 * brood-test, the program: lists tests, and runs each in a process of its own under a supervisor. The supervisor is a
 * fork of the runner for each test: it gives the test a group, a deadline and a temporary directory, and as the
 * subreaper of all that the test starts it knows what the test left running, ends it and says so. Nothing here calls
 * brood: it must judge it.
 */
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { OK = 0, FAILED = 1, USAGE = 2, SKIPPED = 77, DEADLINE_MS = 20000, MAX_WIDTH = 64 };

typedef struct job {
    const test_entry *entry;
    long fault; /* -1: an ordinary run; 0: count; n: fail the n-th */
    pid_t supervisor;
    FILE *output; /* what the test said; NULL: it says it itself */
    char count_path[64];
} job;

typedef struct tally {
    int passed, failed, skipped;
} tally;

static volatile sig_atomic_t interrupted;

static void interrupt(int number) {
    interrupted = number;
}

/* --- the supervisor: one test --- */

/* All descendants, children before their children. */
static size_t descendants(pid_t of, int *pids, size_t room) {
    char path[64];
    size_t count = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)of, (int)of);
    FILE *list = fopen(path, "re");
    for (int pid; list && count < room && fscanf(list, "%d", &pid) == 1;)
        pids[count++] = pid;
    if (list)
        fclose(list);
    for (size_t i = 0, direct = count; i < direct; i++)
        count += descendants(pids[i], pids + count, room - count);
    return count;
}

/* As the init of an ordinary host does, all but the test itself. */
static void reap_orphans(pid_t but) {
    siginfo_t info = {0};
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0 && info.si_pid && info.si_pid != but)
        waitpid(info.si_pid, NULL, __WALL);
}

static void reap_all(void) {
    while (waitpid(-1, NULL, WNOHANG | __WALL) > 0) {}
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where) {
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

/* What the test left running gets a moment to end by itself, then it is ended. Returns whether there was any. */
static bool sweep(const char *name, bool silent) {
    static int pids[65536];
    size_t count = 0;
    for (uint64_t until = test_now_ms() + (silent ? 0 : 1000 * (uint64_t)test_slow());; test_nap()) {
        reap_all();
        count = descendants(getpid(), pids, sizeof pids / sizeof *pids);
        if (count == 0)
            return false;
        if (test_now_ms() >= until)
            break;
    }
    for (size_t i = 0; i < count && !silent; i++) {
        char path[64], text[200];
        snprintf(path, sizeof path, "/proc/%d/cmdline", pids[i]);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
        if (fd >= 0)
            close(fd);
        text[n > 0 ? n : 0] = 0;
        for (ssize_t at = 0; at + 1 < n; at++)
            text[at] = text[at] ? text[at] : ' ';
        fprintf(stderr, "%s: left behind: process %d (%c): %s\n", name, pids[i], test_process_state(pids[i]), text);
    }
    while (count > 0) {
        for (size_t i = 0; i < count; i++)
            kill(pids[i], SIGKILL);
        test_nap();
        reap_all();
        count = descendants(getpid(), pids, sizeof pids / sizeof *pids);
    }
    return true;
}

/* An exec'd test finds what an ordinary program finds: no signal ignored or blocked, an empty stdin. */
static void exec_test(const job *j) {
    sigset_t none;
    char fault[32];
    char *argv[64];
    size_t count = 0;
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int number = 1; number < 65; number++)
        signal(number, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, 0);
    char *wrapper = getenv("BROOD_TEST_WRAPPER");
    for (char *word = wrapper ? strtok(strdup(wrapper), " ") : NULL; word && count < 48; word = strtok(NULL, " "))
        argv[count++] = word;
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    self[len > 0 ? len : 0] = 0;
    snprintf(fault, sizeof fault, "%ld", j->fault);
    argv[count++] = self;
    argv[count++] = strdup("--here");
    argv[count++] = strdup(j->entry->name);
    if (j->fault >= 0) {
        argv[count++] = strdup("--fault");
        argv[count++] = fault;
        argv[count++] = strdup("--count-to");
        argv[count++] = strdup(j->count_path);
    }
    argv[count] = NULL;
    execvp(argv[0], argv);
    fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
    _exit(USAGE);
}

/* Waits for the test until its deadline. Returns its status, -1 if the time was over. */
static int wait_for_test(pid_t pid) {
    int status = 0, pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    const char *other = getenv("BROOD_TEST_DEADLINE_MS");
    uint64_t until = test_now_ms() + (uint64_t)(other ? atol(other) : DEADLINE_MS) * (uint64_t)test_slow();
    bool over = false;
    struct pollfd end = {.fd = pidfd, .events = POLLIN};
    while (poll(&end, 1, 20) <= 0 && !over) {
        reap_orphans(pid);
        over = interrupted || test_now_ms() >= until;
    }
    if (over) {
        kill(-pid, SIGKILL);
        kill(pid, SIGKILL);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    close(pidfd);
    return over ? -1 : status;
}

static int judge(const char *name, int status) {
    if (status == -1) {
        fprintf(stderr, "%s: %s\n", name, interrupted ? "interrupted" : "deadline");
        return FAILED;
    }
    if (WIFSIGNALED(status)) {
        fprintf(stderr, "%s: killed by signal %d (%s)\n", name, WTERMSIG(status), strsignal(WTERMSIG(status)));
        return FAILED;
    }
    if (WEXITSTATUS(status) != OK && WEXITSTATUS(status) != SKIPPED && WEXITSTATUS(status) != FAILED)
        fprintf(stderr, "%s: exited with %d\n", name, WEXITSTATUS(status));
    return WEXITSTATUS(status) == OK || WEXITSTATUS(status) == SKIPPED ? WEXITSTATUS(status) : FAILED;
}

static int supervise(const job *j) {
    char tmp[PATH_MAX];
    const char *base = getenv("TMPDIR");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    snprintf(tmp, sizeof tmp, "%s/brood-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(tmp) || chmod(tmp, 0755) < 0) {
        fprintf(stderr, "%s: %s\n", tmp, strerror(errno));
        return FAILED;
    }
    setenv("BROOD_TEST_TMP", tmp, 1);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        exec_test(j);
    setpgid(pid, pid);
    int status = pid < 0 ? 0x7f00 : wait_for_test(pid);
    int verdict = judge(j->entry->name, status);
    if (sweep(j->entry->name, verdict == FAILED || j->fault > 0) && j->fault <= 0)
        verdict = FAILED; /* a test that gave up in the middle may well have left a grandchild: not the library's */
    nftw(tmp, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    return verdict;
}

/* --- the runner: many --- */

static bool start(job *j) {
    if (j->output == NULL && !(j->output = tmpfile()))
        return false;
    fflush(NULL);
    j->supervisor = fork();
    if (j->supervisor == 0) {
        dup2(fileno(j->output), 1);
        dup2(fileno(j->output), 2);
        exit(supervise(j));
    }
    return j->supervisor > 0;
}

static void show(FILE *output) {
    char line[4096];
    rewind(output);
    while (fgets(line, sizeof line, output))
        printf("    %s%s", line, strchr(line, '\n') ? "" : "\n");
}

static void reason(FILE *output, char *text, size_t size) {
    char line[1024];
    *text = 0;
    rewind(output);
    while (fgets(line, sizeof line, output))
        if (strncmp(line, "skip: ", 6) == 0)
            snprintf(text, size, ": %.*s", (int)strcspn(line + 6, "\n"), line + 6);
}

static void report(job *j, int verdict, tally *total) {
    char why[300] = "", at[32] = "";
    if (j->fault > 0)
        snprintf(at, sizeof at, " (fault %ld)", j->fault);
    if (verdict == OK) {
        total->passed++;
        if (j->fault < 0)
            printf("ok %s\n", j->entry->name);
    } else if (verdict == SKIPPED) {
        total->skipped++;
        reason(j->output, why, sizeof why);
        if (j->fault <= 0)
            printf("skip %s%s\n", j->entry->name, why);
    } else {
        total->failed++;
        printf("FAIL %s%s\n", j->entry->name, at);
        show(j->output);
    }
    fflush(stdout);
    fclose(j->output);
    j->output = NULL;
}

static int finish(pid_t pid, int status, job *jobs, size_t count, size_t *ret_index) {
    (void)status;
    for (size_t i = 0; i < count; i++)
        if (jobs[i].supervisor == pid) {
            jobs[i].supervisor = 0;
            *ret_index = i;
            return WIFEXITED(status) ? WEXITSTATUS(status) : FAILED;
        }
    return -1;
}

static long read_count(const char *path) {
    FILE *file = fopen(path, "re");
    long count = 0;
    if (!file || fscanf(file, "%ld", &count) != 1)
        count = -1;
    if (file)
        fclose(file);
    unlink(path);
    return count;
}

/* Runs all jobs, `width` at a time; a counting run is followed by a job for each fault. */
static tally run_jobs(job *jobs, size_t count, size_t width) {
    tally total = {0};
    size_t next = 0, running = 0, room = count;
    bool alone = false;
    while ((next < count || running > 0) && !interrupted) {
        if (next < count && running < width && !alone && (running == 0 || !(jobs[next].entry->flags & TEST_ALONE))) {
            alone = jobs[next].entry->flags & TEST_ALONE;
            if (!start(&jobs[next++]))
                break;
            running++;
            continue;
        }
        int status;
        size_t at = 0;
        pid_t pid = waitpid(-1, &status, 0);
        int verdict = pid > 0 ? finish(pid, status, jobs, count, &at) : -1;
        if (verdict < 0)
            continue;
        running--;
        alone = false;
        long faults = jobs[at].fault == 0 ? read_count(jobs[at].count_path) : 0;
        if (jobs[at].fault == 0 && verdict == OK) {
            printf("%s: %ld fallible calls\n", jobs[at].entry->name, faults);
            if (count + (size_t)(faults > 0 ? faults : 0) > room) {
                room = (count + (size_t)faults) * 2;
                jobs = realloc(jobs, room * sizeof *jobs);
            }
            for (long n = 1; n <= faults; n++)
                jobs[count++] = (job){.entry = jobs[at].entry, .fault = n};
        }
        report(&jobs[at], verdict, &total);
    }
    for (size_t i = 0; i < count; i++)
        if (jobs[i].supervisor > 0)
            waitpid(jobs[i].supervisor, NULL, 0);
    free(jobs);
    return total;
}

static bool matches(const test_entry *entry, char **patterns, int count, unsigned flags) {
    if (flags && !(entry->flags & flags))
        return false;
    for (int i = 0; i < count; i++)
        if (strcmp(patterns[i], entry->name) == 0 ||
            (!(entry->flags & TEST_HIDDEN) && fnmatch(patterns[i], entry->name, 0) == 0))
            return true;
    return count == 0 && !(entry->flags & TEST_HIDDEN);
}

static job *choose(char **patterns, int pattern_count, unsigned flags, bool torture, size_t *ret_count) {
    size_t count = 0;
    for (test_entry *entry = test_first(); entry; entry = entry->next)
        count += matches(entry, patterns, pattern_count, flags);
    job *jobs = calloc(count + 1, sizeof *jobs);
    *ret_count = 0;
    for (int alone = 0; jobs && alone < 2; alone++) /* those that run alone come last */
        for (test_entry *entry = test_first(); entry; entry = entry->next)
            if (matches(entry, patterns, pattern_count, flags) && alone == !!(entry->flags & TEST_ALONE)) {
                job *j = &jobs[(*ret_count)++];
                *j = (job){.entry = entry, .fault = torture ? 0 : -1};
                if (torture)
                    snprintf(j->count_path, sizeof j->count_path, "/tmp/brood-test-count-%d-%zu", (int)getpid(),
                             *ret_count);
            }
    return jobs;
}

static int list(char **patterns, int count, unsigned flags) {
    for (test_entry *entry = test_first(); entry; entry = entry->next)
        if (matches(entry, patterns, count, flags))
            printf("%s\n", entry->name);
    return OK;
}

static int usage(void) {
    fprintf(stderr,
            "usage: brood-test [--torture] [-jN] NAME-OR-GLOB…   run these, each in a process of its own\n"
            "       brood-test --all [-jN]                      run all\n"
            "       brood-test --torture-all [-jN]              fail each fallible call of those fit for it\n"
            "       brood-test --here NAME                      run one in this process, for gdb\n"
            "       brood-test --list [--alone] [GLOB…]         names; of those only that run alone\n"
            "environment: BROOD_TEST_SLOW=N (deadlines times N), BROOD_TEST_WRAPPER (\"valgrind -q\"),\n"
            "             BROOD_TEST_WITHOUT (probes to force off), BROOD_TEST_BIN_DIR (where brood-child is),\n"
            "             BROOD_TEST_WARM (a child is started before each), BROOD_TEST_AHEAD (exec owns no tree)\n");
    return USAGE;
}

static int run_here(char **argv) {
    const test_entry *entry = argv[0] ? test_find(argv[0]) : NULL;
    long fault = -1;
    const char *count_to = NULL;
    for (int i = 1; entry && argv[i] && argv[i + 1]; i += 2) {
        if (strcmp(argv[i], "--fault") == 0)
            fault = atol(argv[i + 1]);
        if (strcmp(argv[i], "--count-to") == 0)
            count_to = argv[i + 1];
    }
    if (!entry)
        return usage();
    return test_run_here(entry, fault, count_to);
}

static void catch_interrupts(void) {
    struct sigaction action = {.sa_handler = interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

int main(int argc, char **argv) {
    bool all = false, torture = false, listing = false;
    size_t width = 1, count;
    unsigned flags = 0;
    char **patterns = argv; /* kept in place, over what has been read */
    int pattern_count = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--here") == 0)
            return run_here(argv + i + 1);
        if (strcmp(argv[i], "--list") == 0)
            listing = true;
        else if (strcmp(argv[i], "--alone") == 0)
            flags = TEST_ALONE;
        else if (strcmp(argv[i], "--all") == 0)
            all = true;
        else if (strcmp(argv[i], "--torture") == 0)
            torture = true;
        else if (strcmp(argv[i], "--torture-all") == 0)
            torture = all = true;
        else if (strncmp(argv[i], "-j", 2) == 0 && atoi(argv[i] + 2) > 0)
            width = (size_t)atoi(argv[i] + 2);
        else if (strcmp(argv[i], "-j") == 0)
            width = (size_t)sysconf(_SC_NPROCESSORS_ONLN);
        else if (argv[i][0] == '-')
            return usage();
        else
            patterns[pattern_count++] = argv[i];
    }
    if (listing)
        return list(patterns, pattern_count, flags);
    if (!all && pattern_count == 0)
        return usage();
    job *jobs = choose(patterns, pattern_count, torture && all ? TEST_CAN_TORTURE : 0, torture, &count);
    if (!jobs || count == 0) {
        fprintf(stderr, "no such test\n");
        return USAGE;
    }
    catch_interrupts();
    if (count == 1 && !torture && !all) {
        int verdict = supervise(&jobs[0]);
        free(jobs);
        return verdict;
    }
    tally total = run_jobs(jobs, count, width < MAX_WIDTH ? width : MAX_WIDTH);
    printf("%d passed, %d failed, %d skipped\n", total.passed, total.failed, total.skipped);
    return total.failed || interrupted ? FAILED : OK;
}
