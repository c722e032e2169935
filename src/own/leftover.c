/*
 * A holder that cannot end its tree, since something in it hangs in the kernel, is given up, and ends at some later time.
 * Nobody watches for that: whatever brood starts or is done with next waits for it. There are few, so a few slots do,
 * without memory and without a lock, which a fork of the host could find taken.
 */
#include "own/leftover.h"

#include "base/sys.h"

#include <stdatomic.h>
#include <sys/resource.h>

enum { MOST_LEFT = 32 };

static atomic_int slots[MOST_LEFT]; /* a pidfd and one; 0: free */
static atomic_int taken;

void brood__leftover_take(int pidfd) {
    for (int i = 0; i < MOST_LEFT; i++) {
        int none = 0;
        if (!atomic_compare_exchange_strong(&slots[i], &none, pidfd + 1))
            continue;
        atomic_fetch_add(&taken, 1);
        return;
    }
    brood__close(pidfd); /* it will be a zombie until this process ends */
}

void brood__leftover_reap(void) {
    struct rusage usage;
    int status;
    for (int i = 0; i < MOST_LEFT && atomic_load(&taken) > 0; i++) {
        int pidfd = atomic_exchange(&slots[i], 0) - 1;
        if (pidfd < 0)
            continue;
        atomic_fetch_sub(&taken, 1);
        if (brood__wait(pidfd, true, &status, &usage) == 0)
            brood__leftover_take(pidfd);
        else
            brood__close(pidfd); /* also in a fork of the host, whose child it is not */
    }
}
