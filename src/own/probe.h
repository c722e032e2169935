/* What a host has, tried out: what the probes of both files share. */
#ifndef BROOD_OWN_PROBE_H
#define BROOD_OWN_PROBE_H

#include <brood/own.h>

/* Whom the answers go to. */
typedef struct brood__prober {
    void (*each)(const brood_probe *probe, void *data);
    void *data;
} brood__prober;

/*
 * Tell the answer to which `result` leads, 0 or a negative errno: YES, which needs no more words; NO; or UNKNOWN if it
 * was for want of descriptors, memory or processes. `probe` has the names, and what to say of a NO.
 */
void brood__probe_tell(const brood__prober *p, const brood_probe *probe, int result);

/* Of cgroup2: what is mounted, may be made, started into, killed, and handed on. */
void brood__probe_cgroups(const brood__prober *p);

#endif
