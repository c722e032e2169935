/* cmake: static */
/**
 * Writes so many MiB to its standard output, 64 KiB at a time, and does nothing else: `writer 4096`.
 * Ends with 1 if nobody reads any more.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    static char bytes[65536];
    unsigned long long left = argc > 1 ? strtoull(argv[1], NULL, 10) << 20 : 0;

    memset(bytes, 'x', sizeof bytes);
    while (left > 0) {
        ssize_t n = write(STDOUT_FILENO, bytes, left < sizeof bytes ? left : sizeof bytes);
        if (n <= 0)
            return 1;
        left -= (unsigned long long)n;
    }
    return 0;
}
