/*
 * brood-worker: a pool's worker that does as it is told, well or badly. Its arguments say how it starts and answers:
 *
 *     ready         say "ready" first
 *     exit N        exit at once
 *     backwards N   collect N tasks, then answer them in reverse order
 *
 * A task is `{"do": "WORD ARGUMENT", ..., "id": N}`; the answer is the id itself, but for
 *
 *     pid           the worker's pid
 *     fail          an error, "no luck"
 *     progress N    the numbers from 1 on as progress, then the id
 *     exit N, kill N, hang, stop
 *     twice         the answer, twice
 *     other N       an answer for that id, and then its own
 *     stray         messages that are no answers, and then its own
 *     garbage       a line that is no JSON
 *     huge          a line without an end
 *     disconnect    close the channel, and live on
 *     leave N       close the channel, and exit
 *     wait PATH     once that file is there
 *     hold A B      make file A, and wait until B is there
 *     once PATH     exit 1, but when that file is there already, which it makes
 *     later         when nothing else has come for a while
 *     daemon PATH   leave a process behind that has left the session, its pid in that file, and exit 1
 *     parent N      have a child of N MiB from now on
 *     eat N         use N MiB itself
 *     ignore        ignore SIGTERM, and hang
 *     term          when SIGTERM comes
 *     echo          what else the task holds, as it came
 *
 * It links nothing but libc, and reads JSON by looking for what it knows must be there.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST = 4 << 20, MOST_KEPT = 64 };

static int channel;
static char line[LONGEST];
static size_t have;
static unsigned long long kept[MOST_KEPT];
static int kept_count, backwards;
static unsigned long long later;

static void nap(void) {
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void put(const char *bytes, size_t len) {
    while (len > 0) {
        ssize_t n = write(channel, bytes, len);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            nap();
            continue;
        }
        if (n < 0)
            _exit(0); /* the pool has gone */
        bytes += n;
        len -= (size_t)n;
    }
}

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...) {
    static char text[LONGEST + 100];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put(text, (size_t)len);
}

static void hang(void) {
    for (;;)
        pause();
}

static volatile sig_atomic_t terminated;

static void note_end(int signal) {
    (void)signal;
    terminated = 1;
}

static void wait_for_end(void) {
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = note_end}, NULL);
    while (!terminated)
        nap();
}

static void hold(char *files) {
    char *until = strchr(files, ' ');
    *until++ = 0;
    close(open(files, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    while (access(until, F_OK) != 0)
        nap();
}

static void have_child(size_t mib) {
    int ends[2];
    char byte;
    if (pipe2(ends, O_CLOEXEC) < 0)
        _exit(99);
    if (fork() == 0) {
        char *memory = malloc(mib << 20);
        alarm(60);
        memset(memory, 1, mib << 20);
        if (write(ends[1], memory, 1) != 1)
            _exit(98);
        hang();
    }
    if (read(ends[0], &byte, 1) != 1)
        _exit(97);
}

static void leave_daemon(const char *path) {
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        alarm(60);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        dprintf(fd, "%d", (int)getpid());
        close(fd);
        hang();
    }
    while (access(path, F_OK) != 0)
        nap();
    _exit(1);
}

static void answer(unsigned long long id) {
    if (backwards == 0) {
        say("{\"id\":%llu,\"result\":%llu}\n", id, id);
        return;
    }
    kept[kept_count++] = id;
    if (kept_count < backwards)
        return;
    while (kept_count > 0) {
        id = kept[--kept_count];
        say("{\"id\":%llu,\"result\":%llu}\n", id, id);
    }
}

static void misbehave(const char *word, const char *argument, unsigned long long id) {
    int number = atoi(argument);
    if (strcmp(word, "exit") == 0)
        _exit(number);
    else if (strcmp(word, "kill") == 0)
        kill(getpid(), number);
    else if (strcmp(word, "stop") == 0)
        raise(SIGSTOP);
    else if (strcmp(word, "hang") == 0)
        hang();
    else if (strcmp(word, "ignore") == 0 && signal(SIGTERM, SIG_IGN) != SIG_ERR)
        hang();
    else if (strcmp(word, "garbage") == 0)
        say("{no JSON\n"), hang();
    else if (strcmp(word, "huge") == 0)
        for (memset(line, 'x', sizeof line);;)
            put(line, sizeof line);
    else if (strcmp(word, "disconnect") == 0)
        close(channel), hang();
    else if (strcmp(word, "leave") == 0)
        close(channel), _exit(number);
    else if (strcmp(word, "eat") == 0)
        memset(malloc((size_t)number << 20), 'x', (size_t)number << 20);
    else if (strcmp(word, "parent") == 0)
        have_child((size_t)number);
    else if (strcmp(word, "daemon") == 0)
        leave_daemon(argument);
    else if (strcmp(word, "once") == 0 && open(argument, O_CREAT | O_EXCL | O_CLOEXEC, 0644) >= 0)
        _exit(1);
    else if (strcmp(word, "twice") == 0)
        answer(id);
    else if (strcmp(word, "other") == 0)
        say("{\"id\":%d,\"result\":\"not mine\"}\n", number);
    else if (strcmp(word, "stray") == 0)
        say("1\n{\"id\":%llu,\"what\":1}\n{\"id\":\"x\",\"result\":1}\n{\"cmd\":\"NODE_WHAT\"}\n[]\n", id);
}

static void do_task(char *task) {
    char word[32] = "", argument[4096] = "";
    char *id_at = NULL, *what = strstr(task, "\"do\":\"");
    for (char *at = task; (at = strstr(at, "\"id\":")); at++)
        id_at = at;
    unsigned long long id = id_at ? strtoull(id_at + 5, NULL, 10) : 0;
    if (what)
        sscanf(what, "\"do\":\"%31[^ \"] %4095[^\"]", word, argument);
    for (int i = 1; strcmp(word, "progress") == 0 && i <= atoi(argument); i++)
        say("{\"id\":%llu,\"progress\":%d}\n", id, i);
    if (strcmp(word, "term") == 0)
        wait_for_end();
    if (strcmp(word, "hold") == 0)
        hold(argument);
    while (strcmp(word, "wait") == 0 && access(argument, F_OK) != 0)
        nap();
    misbehave(word, argument, id);
    if (strcmp(word, "pid") == 0)
        say("{\"id\":%llu,\"result\":%d}\n", id, (int)getpid());
    else if (strcmp(word, "fail") == 0)
        say("{\"id\":%llu,\"error\":\"no luck\"}\n", id);
    else if (strcmp(word, "later") == 0)
        later = id;
    else if (strcmp(word, "echo") == 0)
        say("{\"id\":%llu,\"result\":%s}\n", id, task);
    else
        answer(id);
}

static void read_tasks(void) {
    for (;;) {
        char *end = memchr(line, '\n', have);
        if (end) {
            *end = 0;
            size_t len = (size_t)(end + 1 - line);
            if (!strstr(line, "\"NODE_"))
                do_task(line);
            memmove(line, line + len, have - len);
            have -= len;
            continue;
        }
        if (later && poll(&(struct pollfd){.fd = channel, .events = POLLIN}, 1, 50) == 0) {
            answer(later);
            later = 0;
        }
        ssize_t n = read(channel, line + have, sizeof line - 1 - have);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            nap();
            continue;
        }
        if (n <= 0)
            return;
        have += (size_t)n;
    }
}

int main(int argc, char **argv) {
    const char *fd = getenv("NODE_CHANNEL_FD");
    channel = fd ? atoi(fd) : 3;
    fcntl(channel, F_SETFD, FD_CLOEXEC);
    signal(SIGPIPE, SIG_IGN);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "ready") == 0)
            say("\"ready\"\n");
        else if (strcmp(argv[i], "exit") == 0 && i + 1 < argc)
            _exit(atoi(argv[++i]));
        else if (strcmp(argv[i], "backwards") == 0 && i + 1 < argc)
            backwards = atoi(argv[++i]);
    }
    read_tasks();
    return 0;
}
