/* test: run */
/*
 * abort: one switch, many children, any thread. The loop starts fifty sleepers; another thread pulls the switch, and
 * the loop stops them all. brood_abort_now may be called from a signal handler as well: Ctrl-C does the same here.
 */
#include <brood.h>
#include <signal.h>
#include <stdio.h>
#include <uv.h>

enum { SLEEPERS = 50 };

static brood_abort *stop_all;
static uv_sem_t all_asleep;

static void on_interrupt(int signal) {
    (void)signal;
    brood_abort_now(stop_all);
}

static void somebody_else(void *data) {
    (void)data;
    uv_sem_wait(&all_asleep);
    brood_abort_now(stop_all);
}

static void on_close(brood_child *child, const brood_exit *ended, void *data) {
    unsigned *aborted = data;
    (void)child;
    if (ended->reason == BROOD_REASON_ABORTED)
        ++*aborted;
}

int main(void) {
    uv_loop_t *loop = uv_default_loop();
    uv_thread_t thread;
    unsigned aborted = 0;
    brood_failure why;

    if (brood_abort_new(&stop_all) < 0 || uv_sem_init(&all_asleep, 0) < 0 ||
        uv_thread_create(&thread, somebody_else, NULL) < 0)
        return 1;
    signal(SIGINT, on_interrupt);
    for (int i = 0; i < SLEEPERS; i++) {
        if (brood_spawn(loop,
                        &(brood_options){
                            .args = BROOD_ARGS("sleep", "60"),
                            .abort = stop_all,
                            .on_close = on_close,
                            .data = &aborted,
                        },
                        NULL, &why) < 0) {
            fprintf(stderr, "abort: %s\n", why.message); /* also when the switch is pulled by now: not started */
            brood_abort_now(stop_all);
            break;
        }
    }
    uint64_t asleep = uv_hrtime();
    uv_sem_post(&all_asleep);
    uv_run(loop, UV_RUN_DEFAULT); /* returns when the last child is closed */
    printf("%u of %d sleepers stopped, %.1f ms after the last fell asleep\n", aborted, SLEEPERS,
           (double)(uv_hrtime() - asleep) / 1e6);

    uv_thread_join(&thread);
    uv_sem_destroy(&all_asleep);
    signal(SIGINT, SIG_DFL); /* from here on no handler can pull it: only now may it be freed */
    brood_abort_free(stop_all);
    uv_loop_close(loop);
    return aborted == SLEEPERS ? 0 : 1;
}
