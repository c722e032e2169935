/* cmake: static */
/**
 * The smallest program that everybody can start: it ends at once with 0. Static, so that what is measured is starting
 * and not the dynamic linker. With an argument (`true_static wait`) it lives until its standard input ends, so that
 * none of the ten thousand is left when the one who started them dies.
 */
#include <unistd.h>

int main(int argc, char **argv) {
    (void)argv;
    char byte;
    if (argc > 1)
        while (read(STDIN_FILENO, &byte, 1) > 0) {}
    return 0;
}
