/* The exec forms: a spawn that collects, answers once, and starts off the loop. */
#include "child/child.h"

#include "base/failure.h"

#include <errno.h>
#include <string.h>

static int exec(uv_loop_t *loop, const char *command, const brood_options *options, size_t size,
                brood_on_result on_result, void *data, brood_child **ret_child) {
    brood_options o;
    if (!loop)
        return -EINVAL;
    int r = brood__options_copy(options, size, &o, NULL);
    return r < 0 ? r : brood__child_spawn(loop, &o, BROOD__EXEC, command, on_result, data, ret_child, NULL);
}

int brood_exec_sized(uv_loop_t *loop, const char *command, const brood_options *options, size_t size,
                     brood_on_result on_result, void *data, brood_child **ret_child) {
    return command ? exec(loop, command, options, size, on_result, data, ret_child) : -EINVAL;
}

int brood_exec_file_sized(uv_loop_t *loop, const brood_options *options, size_t size, brood_on_result on_result,
                          void *data, brood_child **ret_child) {
    return options ? exec(loop, NULL, options, size, on_result, data, ret_child) : -EINVAL;
}

int brood_result_take_sized(brood_result *result, brood_result *ret_result, size_t size) {
    brood__result_give(result, ret_result, size);
    memset(result, 0, sizeof *result);
    return 0;
}
