/*
 * A worker in C: sums the numbers that each message has as "data". Its parent may be brood's brood_fork, Node's fork()
 * with execPath, or a shell:
 *
 *     cc sum.c -o sum $(pkg-config --cflags --libs brood libuv)
 *     echo '{"id":1,"data":[1,2,3]}' | brood talk -- ./sum
 */
#include <brood.h>
#include <stdio.h>

static int sum(brood_value task, brood_writer *result, void *data) {
    brood_value numbers = brood_value_get(task, "data");
    double total = 0, number;
    (void)data;
    for (size_t i = 0; i < brood_value_count(numbers); i++) {
        int r = brood_value_double(brood_value_at(numbers, i, NULL), &number);
        if (r < 0)
            return r;
        total += number;
    }
    brood_writer_double(result, total);
    return 0;
}

int main(void) {
    int r = brood_worker_main(sum, NULL);
    if (r < 0)
        fputs("sum: nobody to talk to; try: brood talk -- ./sum\n", stderr);
    return r < 0;
}
