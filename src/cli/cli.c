/*
 * How the command speaks: complaints on stderr, each one line in one write, and output whose loss is noticed.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

char cli_process_state(pid_t pid) {
    char path[40], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *name_end = strrchr(text, ')'); /* a name may hold anything */
    return name_end && name_end[1] == ' ' ? name_end[2] : 0;
}

int cli_write_all(int fd, const char *bytes, size_t len) {
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n >= 0) {
            bytes += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

enum { LINE_SIZE = 2048 };

__attribute__((format(printf, 3, 0))) static size_t make_line(char *ret_line, const char *command, const char *format,
                                                              va_list list) {
    char text[LINE_SIZE - 48];
    int wanted = vsnprintf(text, sizeof text, format, list);
    if (wanted >= (int)sizeof text)
        memcpy(text + sizeof text - 4, "...", 4);
    for (char *at = text; *at; at++) /* a path may hold anything, and is not to move anybody's cursor */
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    return (size_t)snprintf(ret_line, LINE_SIZE, "brood%s%s: %s\n", command ? " " : "", command ? command : "", text);
}

void cli_complain(const char *command, const char *format, ...) {
    char line[LINE_SIZE];
    va_list list;
    va_start(list, format);
    cli_write_all(STDERR_FILENO, line, make_line(line, command, format, list));
    va_end(list);
}

void cli_remark(const char *command, const char *format, ...) {
    char line[LINE_SIZE];
    va_list list;
    va_start(list, format);
    size_t len = make_line(line, command, format, list);
    va_end(list);
    struct pollfd err = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&err, 1, 0) == 1 && write(STDERR_FILENO, line, len) < 0) {} /* room for PIPE_BUF bytes, and so for it */
}

const char *cli_error_text(int error) {
    switch (error) {
    case -EAGAIN:
        return "too many processes (RLIMIT_NPROC or a pids limit; see ulimit -u)";
    case -E2BIG:
        return "it is nested too deep, or holds too many values";
    case -EMFILE:
        return "too many open files in this process (RLIMIT_NOFILE; see ulimit -n)";
    default:
        return strerror(-error);
    }
}

/* The file itself, so that what is printed is what is distributed. */
__asm__(".pushsection .rodata.brood_license, \"a\"\n"
        "brood_license:\n"
        ".incbin \"" BROOD_LICENSE_FILE "\"\n"
        ".byte 0\n"
        ".popsection\n");
extern const char brood_license[] __attribute__((visibility("hidden")));

int cli_print_license(const char *command) {
    fputs(brood_license, stdout);
    return cli_flush(command, 0);
}

int cli_flush(const char *command, int status) {
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    cli_complain(command, "cannot write to standard output: %s", strerror(errno));
    return CLI_FAILED;
}

enum { LOOP_DESCRIPTORS = 8 }; /* libuv's: epoll, wake-up, two pipes for signals; and some to work with */

int cli_look_for_descriptors(void) {
    int fds[LOOP_DESCRIPTORS], count = 0, result = 0;
    while (count < LOOP_DESCRIPTORS && result == 0) {
        fds[count] = eventfd(0, EFD_CLOEXEC);
        if (fds[count] < 0)
            result = -errno;
        else
            count++;
    }
    while (count > 0)
        close(fds[--count]);
    return result;
}
