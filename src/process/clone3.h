/* clone3(2) into a cgroup, as Linux 5.7 has it: older headers lack what that needs. */
#ifndef BROOD_PROCESS_CLONE3_H
#define BROOD_PROCESS_CLONE3_H

#include <linux/sched.h>
#include <stdint.h>

#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif

/* The kernel's struct clone_args. */
typedef struct brood__clone_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
} brood__clone_args;

#endif
