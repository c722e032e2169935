/**
 * @file loop.h
 * brood on a loop that is yours: ending it, and telling its handles from your own. Loop thread only.
 */
#ifndef BROOD_LOOP_H
#define BROOD_LOOP_H

#include <brood/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * End all of brood on a loop: every child is closed as by brood_child_close, those being started are cancelled.
 * Each pool is closed as by brood_pool_close with no time: what is unfinished ends as ABORTED. Whoever wants a pool's own
 * on_closed calls brood_pool_close too, before the loop runs again or in one of the pool's callbacks; later the pool may
 * be gone. Run the loop until on_closed comes.
 *
 * Returns 0; else on_closed does not come: -ENOENT if nothing of brood lives there, -EALREADY if it is being ended;
 * -EMFILE, -ENFILE or -ENOMEM if not even a handle could be made to tell it by.
 */
BROOD_API int brood_loop_close(uv_loop_t *loop, void (*on_closed)(uv_loop_t *loop, void *data), void *data);

/** Whether a handle that uv_walk shows (a `uv_handle_t *`) is brood's: such must not be closed by others. */
BROOD_API bool brood_loop_owns(uv_loop_t *loop, const void *handle);

#ifdef __cplusplus
}
#endif
#endif
