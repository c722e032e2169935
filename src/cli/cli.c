/*
 * How the command speaks: complaints on stderr, each one line in one write, and output whose loss is noticed.
 */
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

void cli_complain(const char *command, const char *format, ...) {
    char line[2048];
    int head = snprintf(line, sizeof line, "brood%s%s: ", command ? " " : "", command ? command : "");
    va_list list;
    va_start(list, format);
    int body = vsnprintf(line + head, sizeof line - (size_t)head - 1, format, list);
    va_end(list);
    size_t len = strlen(line);
    for (size_t i = 0; i < len; i++) /* a path may hold anything, and is not to move anybody's cursor */
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    if (body >= (int)sizeof line - head - 1)
        memcpy(line + len - 3, "...", 3);
    line[len++] = '\n';
    while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR)
        ;
}

int cli_flush(const char *command, int status) {
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    cli_complain(command, "cannot write to standard output: %s", strerror(errno));
    return CLI_FAILED;
}
