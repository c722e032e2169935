/*
 * How the command speaks: complaints on stderr, each one line in one write, and output whose loss is noticed.
 */
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

void cli_complain(const char *command, const char *format, ...) {
    char text[2000], line[2048];
    va_list list;
    va_start(list, format);
    int wanted = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (wanted >= (int)sizeof text)
        memcpy(text + sizeof text - 4, "...", 4);
    for (char *at = text; *at; at++) /* a path may hold anything, and is not to move anybody's cursor */
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    int len = snprintf(line, sizeof line, "brood%s%s: %s\n", command ? " " : "", command ? command : "", text);
    while (write(STDERR_FILENO, line, (size_t)len) < 0 && errno == EINTR) {}
}

int cli_flush(const char *command, int status) {
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    cli_complain(command, "cannot write to standard output: %s", strerror(errno));
    return CLI_FAILED;
}
