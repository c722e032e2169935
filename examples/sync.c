/* test: run */
/*
 * The sync forms: start, wait, read the result. No loop, any thread, the same limits and the same promises: here four
 * threads sort at the same time, and a child that does not want to go is gone when its time is over.
 */
#include <brood.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static void *sort_numbers(void *ret_ok) {
    brood_result result;
    int error = brood_exec_file_sync(
        &(brood_options){
            .args = BROOD_ARGS("sort", "-n"),
            .in = {.input = "10\n9\n100\n1\n", .input_len = BROOD_NUL},
            .timeout_ms = 10000,
        },
        &result);
    *(bool *)ret_ok = error == 0 && brood_exit_ok(&result.exit) && strcmp(result.out.bytes, "1\n9\n10\n100\n") == 0;
    brood_result_done(&result);
    return NULL;
}

int main(void) {
    pthread_t threads[4];
    bool sorted[4] = {false};
    brood_result result;
    int wrong = 0;

    if (brood_exec_sync("uname -s; echo to stderr >&2", NULL, &result) < 0)
        wrong++;
    printf("%s\n  out: %s  err: %s", result.command, result.out.bytes, result.err.bytes);
    brood_result_done(&result);

    for (int i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, sort_numbers, &sorted[i]) != 0)
            return 1;
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        wrong += !sorted[i];
    }
    printf("four threads sorted: %s\n", wrong ? "no" : "yes");

    /* spawn_sync gives the child the slots of spawn: here the host's own stdin and stdout. */
    if (brood_spawn_sync(&(brood_options){.args = BROOD_ARGS("uname", "-sr")}, &result) < 0)
        wrong++;
    brood_result_done(&result);

    /* SIGTERM after 100 ms, which it ignores; SIGKILL 100 ms later, to the whole group. */
    brood_exec_sync("trap '' TERM; while :; do sleep 1; done",
                    &(brood_options){.timeout_ms = 100, .kill_grace_ms = 100}, &result);
    if (result.exit.reason != BROOD_REASON_TIMED_OUT || result.exit.signal != SIGKILL)
        wrong++;
    printf("%s\n", result.message);
    brood_result_done(&result);

    /* A program that is not there: the return value says so, and the result which step failed, on what. */
    if (brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS("grpe")}, &result) == 0)
        wrong++;
    printf("%s\n", result.failure.message);
    brood_result_done(&result);
    return wrong != 0;
}
