/*
 * Descendants are found by their parents' numbers in /proc, all processes of the system in one pass: whoever's chain of
 * parents leads to the holder is of the tree, and no chain is broken, since orphans become the holder's own children
 * (it is their subreaper). What is hard: a number may be another process's when it is used. So a process is signalled
 * through a pidfd, after which it is looked at once more: if the number still has a parent of the tree, it is the one.
 */
#include "own/holder/tree.h"

#include "base/digits.h"
#include "own/holder/line.h"
#include "own/holder/runtime.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define MOST_PIDS (4L << 20)   /* PID_MAX_LIMIT */
#define FIRST_PROCESSES 16384L /* room for them at first */
#define STAT_SIZE 512
#define MOST_ROUNDS 1000 /* of stopping what is new */

typedef struct process {
    int pid, parent;
} process;

/* Only what is used takes memory, and all but more processes than are usual is there from the beginning. */
static process first_found[FIRST_PROCESSES];
static struct tree {
    int proc;       /* /proc */
    process *found; /* in /proc's order */
    long count, room;
    unsigned char member[MOST_PIDS / 8];  /* a bit for each pid */
    unsigned char stopped[MOST_PIDS / 8]; /* likewise: it was sent SIGSTOP */
    unsigned char mourned[MOST_PIDS / 8]; /* likewise: that it was killed has been seen */
    unsigned char killed[MOST_PIDS / 8];  /* likewise: it was sent SIGKILL as the holder's child, and is not reaped */
} tree;

static bool has(const unsigned char *bits, int pid) {
    return bits[pid / 8] >> (pid % 8) & 1;
}

static void set(unsigned char *bits, int pid) {
    bits[pid / 8] |= (unsigned char)(1 << (pid % 8));
}

static void clear(unsigned char *bits, int pid) {
    bits[pid / 8] = 0; /* its neighbours are to be cleared as well */
}

static void clear_one(unsigned char *bits, int pid) {
    if (has(bits, pid)) /* or its page would be touched for nothing */
        bits[pid / 8] &= (unsigned char)~(1 << (pid % 8));
}

/* Where there is none, those behind are seen in a later pass, when some of these are gone. */
static bool has_room(void) {
    if (tree.count < tree.room)
        return true;
    size_t size = (size_t)tree.room * sizeof *tree.found;
    process *larger = holder_map(size * 2);
    if (!larger)
        return false;
    memcpy(larger, tree.found, size);
    if (tree.found != first_found)
        holder_unmap(tree.found, size);
    tree.found = larger;
    tree.room *= 2;
    return true;
}

/* --- one process --- */

static int parse_number(const char **at) {
    int number = 0;
    while (**at >= '0' && **at <= '9')
        number = number * 10 + (*(*at)++ - '0');
    return number;
}

void tree_prepare_with(int proc) {
    tree.proc = proc;
    tree.found = first_found;
    tree.room = FIRST_PROCESSES;
}

int tree_prepare(void) {
    tree_prepare_with(holder_open(AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY));
    return brood__proc_shows_us(tree.proc) ? 0 : -ESRCH;
}

/* "PID (name) state parent …": a name may hold anything, so what counts is its last parenthesis. */
static bool parse_stat(const char *text, long len, process *ret) {
    const char *at = text + len;
    while (at > text && *at != ')')
        at--;
    if (at == text || len - (at - text) < 5)
        return false;
    at += 4;
    ret->parent = parse_number(&at);
    return true;
}

/* "PID/stat" in /proc: its length, or a negative errno. */
static long read_stat(int pid, char text[STAT_SIZE]) {
    char path[24];
    int len = brood__append_number(path, 0, (uint64_t)pid);
    brood__append_text(path, len, "/stat");
    int fd = holder_open(tree.proc, path, O_RDONLY);
    if (fd < 0)
        return fd;
    long got = holder_read(fd, text, STAT_SIZE - 1);
    holder_close(fd);
    text[got > 0 ? got : 0] = '\0';
    return got;
}

static bool look_at(int pid, process *ret) {
    char text[STAT_SIZE];
    long got = read_stat(pid, text);
    ret->pid = pid;
    return got > 0 && parse_stat(text, got - 1, ret);
}

/* --- all of them --- */

static void list_processes(void) {
    char entries[4096];
    for (long n; (n = holder_call(SYS_getdents64, (long)tree.proc, entries, sizeof entries)) > 0;)
        for (long at = 0; at < n;) {
            const struct dirent64 *entry = (const struct dirent64 *)(const void *)(entries + at);
            const char *name = entry->d_name;
            int pid = parse_number(&name);
            at += entry->d_reclen;
            if (!*name && pid > 0 && pid < MOST_PIDS && has_room() && look_at(pid, &tree.found[tree.count]))
                tree.count++;
        }
}

/* Who is of the tree. Parents mostly stand before their children: one pass does nearly all, and one more finds no new. */
static void mark_members(int self) {
    for (bool more = true; more;) {
        more = false;
        for (long i = 0; i < tree.count; i++) {
            const process *p = &tree.found[i];
            if (!has(tree.member, p->pid) && (p->parent == self || has(tree.member, p->parent))) {
                set(tree.member, p->pid);
                more = true;
            }
        }
    }
}

/* The number's process is of the tree now: it was, or its parent is. */
static bool is_of_tree(int self, int pid) {
    process now;
    return look_at(pid, &now) && (now.parent == self || has(tree.member, now.parent));
}

static int signal_one(int self, const process *p, int signal) {
    if (p->parent == self) /* only the holder frees its children's numbers */
        return (int)holder_call(SYS_kill, (long)p->pid, (long)signal);
    int pidfd = (int)holder_call(SYS_pidfd_open, (long)p->pid, 0L);
    if (pidfd < 0)
        return pidfd;
    int r =
        is_of_tree(self, p->pid) ? (int)holder_call(SYS_pidfd_send_signal, (long)pidfd, (long)signal, 0L, 0L) : -ESRCH;
    holder_close(pidfd);
    return r;
}

/* Signal them; with `once`, only who has not been sent it yet, and is noted there. How many took it. */
static long signal_members(int self, int signal, unsigned char *once, int *ret_error) {
    long sent = 0;
    for (long i = 0; i < tree.count; i++) {
        const process *p = &tree.found[i];
        if (!has(tree.member, p->pid) || (once && has(once, p->pid)))
            continue; /* also what looks like a zombie: other threads of it may be alive */
        int r = signal_one(self, p, signal);
        if (r < 0 && r != -ESRCH)
            *ret_error = r;
        if (r < 0)
            continue;
        if (once)
            set(once, p->pid);
        sent++;
    }
    return sent;
}

static void find_tree(int self) {
    for (; tree.count > 0; tree.count--)
        clear(tree.member, tree.found[tree.count - 1].pid);
    holder_call(SYS_lseek, (long)tree.proc, 0L, 0L);
    list_processes();
    mark_members(self);
}

int tree_signal(int signal) {
    int self = (int)holder_call(SYS_getpid), error = 0;
    find_tree(self);
    signal_members(self, signal, NULL, &error);
    return error;
}

int tree_stop(void) {
    int self = (int)holder_call(SYS_getpid), error = 0;
    for (int round = 0; round < MOST_ROUNDS; round++) {
        find_tree(self);
        if (round == 0)
            for (long i = 0; i < tree.count; i++)
                clear(tree.stopped, tree.found[i].pid);
        if (signal_members(self, SIGSTOP, tree.stopped, &error) == 0)
            break;
    }
    return error;
}

int tree_kill(void) {
    int self = (int)holder_call(SYS_getpid), error = 0;
    tree_stop();
    signal_members(self, SIGKILL, NULL, &error);
    return error;
}

/* --- what became of one, and what they cost --- */

/* The field of a stat, counted from 1 as proc(5) does, 3 or later; "" where there is none. */
static const char *field_of(const char *text, long len, int number) {
    const char *at = text + len;
    while (at > text && *at != ')')
        at--;
    at += *at == ')';
    for (int field = 3; *at; field++) {
        at += *at == ' ';
        if (field == number)
            break;
        while (*at && *at != ' ')
            at++;
    }
    return at;
}

static uint64_t number_in(const char *text, long len, int field) {
    uint64_t number = 0;
    for (const char *at = field_of(text, len, field); *at >= '0' && *at <= '9'; at++)
        number = number * 10 + (uint64_t)(*at - '0');
    return number;
}

typedef enum fate { ALIVE, DYING, DEAD } fate; /* by SIGKILL */

/* It is told by what is pending, or by the exit code, which is shown to whoever may trace it. */
static fate fate_of(const char *text, long len) {
    enum { STATE = 3, FLAGS = 9, PENDING = 31, EXIT_CODE = 52, EXITING = 4 };
    char state = *field_of(text, len, STATE);
    bool killed = (number_in(text, len, EXIT_CODE) & 0x7f) == SIGKILL;
    if (state == 'Z' || state == 'X')
        return killed ? DEAD : ALIVE;
    if (number_in(text, len, PENDING) >> (SIGKILL - 1) & 1)
        return DYING;
    return killed && (number_in(text, len, FLAGS) & EXITING) ? DYING : ALIVE;
}

static void take_name(const char *text, long len, char ret_name[16]) {
    const char *from = text, *to = text + len;
    while (*from && *from != '(')
        from++;
    while (to > from && *to != ')')
        to--;
    int at = 0;
    for (from++; from < to && at < 15; from++)
        ret_name[at++] = *from;
    ret_name[at] = '\0';
}

bool tree_find_killed(int program, int *ret_pid, char ret_name[16]) {
    char text[STAT_SIZE];
    int count = 0;
    fate best = ALIVE;
    find_tree((int)holder_call(SYS_getpid));
    for (long i = 0; i < tree.count; i++) {
        int pid = tree.found[i].pid;
        long len = has(tree.member, pid) ? read_stat(pid, text) : 0;
        fate now = len > 0 ? fate_of(text, len) : ALIVE;
        if (now == ALIVE)
            clear_one(tree.mourned, pid);
        if (now == ALIVE || has(tree.mourned, pid))
            continue;
        set(tree.mourned, pid);
        if (*ret_pid == program && count > 0)
            continue;
        bool better = pid == program || (now == DYING && best != DYING);
        count = better ? 1 : now == best || best == ALIVE ? count + 1 : count;
        if (!better && best != ALIVE)
            continue;
        best = now;
        *ret_pid = pid;
        take_name(text, len, ret_name);
    }
    return count == 1;
}

/* Each has its own, and that of those that it has waited for; who is waited for by the holder is the holder's. */
uint64_t tree_cpu_us(void) {
    enum { OWN_USER = 14, LAST = 17, TICK_US = 10000 };
    struct rusage dead = {0};
    char text[STAT_SIZE];
    uint64_t ticks = 0;
    find_tree((int)holder_call(SYS_getpid));
    for (long i = 0; i < tree.count; i++) {
        long len = has(tree.member, tree.found[i].pid) ? read_stat(tree.found[i].pid, text) : 0;
        for (int field = OWN_USER; len > 0 && field <= LAST; field++)
            ticks += number_in(text, len, field);
    }
    holder_call(SYS_getrusage, (long)RUSAGE_CHILDREN, &dead);
    return ticks * TICK_US + (uint64_t)(dead.ru_utime.tv_sec + dead.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(dead.ru_utime.tv_usec + dead.ru_stime.tv_usec);
}

/* --- what runs away --- */

void tree_reaped(int pid) {
    clear_one(tree.killed, pid);
    clear_one(tree.mourned, pid);
}

static void kill_child(int pid) {
    if (pid <= 0 || pid >= MOST_PIDS || has(tree.killed, pid))
        return;
    set(tree.killed, pid);
    holder_call(SYS_kill, (long)pid, (long)SIGKILL);
}

/* The list of the kernel's, which not every kernel is built with. */
static bool kill_listed_children(int self) {
    char path[48], text[4096];
    int pid = 0, len = brood__append_text(path, 0, "self/task/");
    len = brood__append_number(path, len, (uint64_t)self);
    brood__append_text(path, len, "/children");
    int fd = holder_open(tree.proc, path, O_RDONLY);
    if (fd < 0)
        return false;
    for (long n; (n = holder_read(fd, text, sizeof text)) > 0;)
        for (long i = 0; i < n; i++) {
            if (text[i] >= '0' && text[i] <= '9') {
                pid = pid * 10 + (text[i] - '0');
                continue;
            }
            kill_child(pid);
            pid = 0;
        }
    holder_close(fd);
    return true;
}

void tree_chase(void) {
    int self = (int)holder_call(SYS_getpid);
    if (kill_listed_children(self))
        return;
    find_tree(self);
    for (long i = 0; i < tree.count; i++)
        if (tree.found[i].parent == self)
            kill_child(tree.found[i].pid);
}
