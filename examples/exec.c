/* test: run */
/*
 * exec and exec_file: the whole output at once, in a callback. exec has a shell read the command; exec_file has none,
 * so that what a stranger typed stays one argument, whatever it holds.
 */
#include <brood.h>
#include <stdio.h>
#include <uv.h>

static int wrong;

static void on_shells(brood_result *result, void *data) {
    (void)data;
    if (!brood_exit_ok(&result->exit))
        wrong++;
    printf("%s\n%.*s\n", result->command, (int)result->out.len, result->out.bytes);
}

static void on_search(brood_result *result, void *data) {
    (void)data;
    /* grep's 1 is an answer: nothing found. How a child ended is never an error; the caller knows what it means. */
    if (result->exit.code != 1)
        wrong++;
    printf("%s\nexit code %d: no such user\n\n", result->command, result->exit.code);
}

static void on_noise(brood_result *result, void *data) {
    (void)data;
    if (result->exit.reason != BROOD_REASON_OUTPUT_LIMIT || result->out.len != 4096)
        wrong++;
    printf("%s\n%s: kept %zu bytes, dropped at least %llu\n\n", result->message, result->error_name, result->out.len,
           (unsigned long long)result->out_dropped);
}

static void on_typo(brood_result *result, void *data) {
    (void)data;
    if (result->exit.reason != BROOD_REASON_NOT_STARTED || result->failure.step != BROOD_STEP_EXEC)
        wrong++;
    printf("%s\n%s: %s\n", result->message, result->error_name, result->failure.message);
}

int main(void) {
    static const char typed_by_a_stranger[] = "root; rm -rf /";
    uv_loop_t *loop = uv_default_loop();
    const brood_options search = {.args = BROOD_ARGS("grep", "-F", "--", typed_by_a_stranger, "/etc/passwd")};
    const brood_options noise = {.args = BROOD_ARGS("yes"), .max_buffer = 4096};
    const brood_options typo = {.args = BROOD_ARGS("grpe", "x")};
    static const char shells[] = "cut -d: -f7 /etc/passwd | sort | uniq -c | sort -rn | head -3";

    int error = brood_exec(loop, shells, NULL, on_shells, NULL, NULL);
    if (error == 0)
        error = brood_exec_file(loop, &search, on_search, NULL, NULL);
    if (error == 0)
        error = brood_exec_file(loop, &noise, on_noise, NULL, NULL);
    if (error == 0)
        error = brood_exec_file(loop, &typo, on_typo, NULL, NULL);
    if (error < 0) {
        fprintf(stderr, "exec: %s\n", uv_strerror(error));
        return 1;
    }
    uv_run(loop, UV_RUN_DEFAULT); /* the four run side by side; answers come in the order in which they end */
    uv_loop_close(loop);
    return wrong != 0;
}
