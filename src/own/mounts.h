/* Where the hierarchies of cgroups are mounted. */
#ifndef BROOD_OWN_MOUNTS_H
#define BROOD_OWN_MOUNTS_H

#include "process/plan.h"

#include <sys/types.h>

/* A descriptor of the root of that one, as this process sees it, to be closed; or a negative errno. Any thread. */
int brood__mounts_open(brood__hierarchy hierarchy);

/* This process's cgroup namespace: what its paths begin at. */
ino_t brood__mounts_namespace(void);

/* By its name as cgroup v1 has it. */
const char *brood__mounts_controller(brood__hierarchy hierarchy);

#endif
