/* test: run */
/*
 * spawn: output comes to a callback while the child runs, on_exit tells how the process ended, on_close that nothing
 * more will come. Without arguments it lists the root directory; with some, it runs them: spawn du -sh /usr/lib
 */
#include <brood.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

typedef struct run {
    size_t lines;
    int status;
} run;

static void on_output(brood_stream *stream, const char *bytes, size_t len, void *data) {
    run *r = data;
    (void)stream;
    for (const char *p = bytes; (p = memchr(p, '\n', len - (size_t)(p - bytes))) != NULL; p++)
        r->lines++;
    fwrite(bytes, 1, len, stdout);
}

/* What the child complains of, marked. A message may come in pieces: this prints each piece as it comes. */
static void on_complaint(brood_stream *stream, const char *bytes, size_t len, void *data) {
    (void)stream;
    (void)data;
    fprintf(stderr, "child says: %.*s", (int)len, bytes);
}

static void on_ended(brood_child *child, const brood_exit *ended, void *data) {
    (void)data;
    printf("-- process %d %s: code %d, signal %d, after %.1f ms\n", (int)brood_child_pid(child),
           brood_reason_text(ended->reason), ended->code, ended->signal, (double)ended->run_us / 1000);
}

static void on_close(brood_child *child, const brood_exit *ended, void *data) {
    run *r = data;
    (void)child;
    r->status = brood_exit_status(ended);
    printf("-- %zu lines, and nothing more to come\n", r->lines);
}

int main(int argc, char **argv) {
    static const char *const list_root[] = {"ls", "-la", "/", NULL};
    uv_loop_t *loop = uv_default_loop();
    run r = {0};
    brood_failure why;

    /* No ret_child: the child closes itself after on_close, and the loop has nothing left to wait for. */
    int error = brood_spawn(loop,
                            &(brood_options){
                                .args = argc > 1 ? (const char *const *)argv + 1 : list_root,
                                .out = {.on_data = on_output},
                                .err = {.on_data = on_complaint},
                                .on_exit = on_ended,
                                .on_close = on_close,
                                .data = &r,
                            },
                            NULL, &why);
    if (error < 0) {
        fprintf(stderr, "spawn: %s\n", why.message); /* which step failed, on what, and why */
        return why.step == BROOD_STEP_EXEC && error == -UV_ENOENT ? 127 : 126;
    }
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
    return r.status;
}
