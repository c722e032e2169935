/* A stranger with a loop of its own. */
#include <brood.h>
#include <stdio.h>
#include <uv.h>

static void on_result(brood_result *result, void *data) {
    *(int *)data = brood_exit_ok(&result->exit);
    printf("%s", result->out.bytes);
}

int main(void) {
    brood_options options = {.args = BROOD_ARGS("echo", "hello from a child")};
    int ok = 0;
    int r = brood_exec_file(uv_default_loop(), &options, on_result, &ok, NULL);
    if (r == 0)
        uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    return !ok;
}
