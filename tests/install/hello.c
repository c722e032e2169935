/* The smallest stranger, in C99: run a program, print what it said. */
#include <brood.h>
#include <stdio.h>

int main(void) {
    brood_options options = {.args = BROOD_ARGS("echo", "hello from a child")};
    brood_result result;
    int r = brood_exec_file_sync(&options, &result);
    int ok = r == 0 && brood_exit_ok(&result.exit);
    if (ok)
        printf("%s", result.out.bytes);
    else
        fprintf(stderr, "%s\n", result.message);
    brood_result_done(&result);
    return !ok;
}
