/* cmake: static */
/*
 * A tree to be killed: so many descendants, a third of which have left the session and lost their parents. All hold its
 * standard output, so that its end is the end of the last of them. It says "ready" when all are there.
 *
 *     bench-forest N
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void stay(void) {
    for (;;)
        pause();
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 1;
    for (int i = 1; i < count; i++) { /* this one is of the tree as well */
        pid_t pid = fork();
        if (pid < 0) {
            perror("bench-forest: fork");
            return 1;
        }
        if (pid > 0 && i % 3 == 0)
            waitpid(pid, NULL, 0);
        if (pid == 0 && i % 3 != 0)
            stay();
        if (pid == 0) {
            setsid();
            if (fork() != 0)
                _exit(0);
            stay();
        }
    }
    if (write(1, "ready\n", 6) != 6) {
        perror("bench-forest: write");
        return 1;
    }
    stay();
}
