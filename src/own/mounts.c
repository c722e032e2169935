/*
 * The mounts of cgroups, as /proc tells of them. They are looked for once, and again where this process has another cgroup
 * namespace: what was mounted before has its cgroups under other paths than those that the process is told from then on.
 */
#include "own/mounts.h"

#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *points[BROOD__HIERARCHIES]; /* NULL: there is none */
static ino_t looked_in;                  /* the cgroup namespace; 0: they have not been looked for */

static void unlock_in_fork(void) {
    pthread_mutex_init(&lock, NULL);
}

__attribute__((constructor)) static void watch_for_forks(void) {
    pthread_atfork(NULL, NULL, unlock_in_fork);
}

const char *brood__mounts_controller(brood__hierarchy hierarchy) {
    static const char *const controllers[] = {
        [BROOD__MEMORY] = "memory", [BROOD__PIDS] = "pids", [BROOD__CPU] = "cpu", [BROOD__IO] = "blkio"};
    return controllers[hierarchy];
}

/* A line of /proc/self/mountinfo, proc_pid_mountinfo(5): words of it, still as they are escaped there. */
typedef struct mounted {
    char *root, *point, *type, *options;
} mounted;

/* "ID PARENT DEVICE ROOT POINT OPTIONS [FIELD…] - TYPE SOURCE OPTIONS\n" */
static bool read_mount(char *line, mounted *ret_mount) {
    enum { ROOT = 3, POINT, WORDS };
    char *rest, *words[WORDS], *end = strstr(line, " - ");
    if (!end)
        return false;
    *end = '\0';
    for (int i = 0; i < WORDS; i++)
        if (!(words[i] = strtok_r(i == 0 ? line : NULL, " ", &rest)))
            return false;
    *ret_mount = (mounted){.root = words[ROOT], .point = words[POINT], .type = strtok_r(end + 3, " ", &rest)};
    return ret_mount->type && strtok_r(NULL, " ", &rest) && (ret_mount->options = strtok_r(NULL, " \n", &rest));
}

/* In place: "\040" is a blank. */
static char *unescaped(char *text) {
    char *to = text;
    unsigned value;
    int len = 0;
    for (const char *from = text; *from; from += len, to++) {
        len = *from == '\\' && sscanf(from, "\\%3o%n", &value, &len) == 1 ? len : 1;
        *to = len == 1 ? *from : (char)value;
    }
    *to = '\0';
    return text;
}

/* What is mounted from elsewhere than the root that this process knows will not do: see above. */
static bool has_hierarchy(const mounted *m, brood__hierarchy hierarchy) {
    if (strcmp(m->root, "/") != 0)
        return false;
    if (hierarchy == BROOD__UNIFIED)
        return strcmp(m->type, "cgroup2") == 0;
    return strcmp(m->type, "cgroup") == 0 &&
           hasmntopt(&(struct mntent){.mnt_opts = m->options}, brood__mounts_controller(hierarchy));
}

static void forget(int i) {
    free(points[i]);
    points[i] = NULL;
}

/* A later one covers what was at its point. */
static void see_mount(const mounted *m) {
    char *point = unescaped(m->point);
    for (brood__hierarchy i = BROOD__UNIFIED; i < BROOD__HIERARCHIES; i++) {
        if (points[i] && strcmp(points[i], point) == 0)
            forget(i);
        if (!points[i] && has_hierarchy(m, i))
            points[i] = strdup(point);
    }
}

static int look_for_mounts(void) {
    FILE *mounts = fopen("/proc/thread-self/mountinfo", "re");
    mounted m;
    char line[2 * PATH_MAX + 512];
    if (!mounts)
        return -errno;
    for (int i = 0; i < BROOD__HIERARCHIES; i++)
        forget(i);
    while (fgets(line, sizeof line, mounts))
        if (read_mount(line, &m))
            see_mount(&m);
    fclose(mounts);
    return 0;
}

ino_t brood__mounts_namespace(void) {
    brood__own_thread *thread = brood__thread_if_ours();
    struct stat own;
    if (thread && thread->cgroup_namespace)
        return thread->cgroup_namespace;
    if (stat("/proc/thread-self/ns/cgroup", &own) < 0)
        return 1; /* there is but one */
    if (thread)
        thread->cgroup_namespace = own.st_ino;
    return own.st_ino;
}

int brood__mounts_open(brood__hierarchy hierarchy) {
    ino_t own = brood__mounts_namespace();
    pthread_mutex_lock(&lock);
    int r = own == looked_in ? 0 : look_for_mounts();
    if (r == 0) {
        looked_in = own;
        r = points[hierarchy] ? brood__open(points[hierarchy], O_RDONLY | O_DIRECTORY) : -ENOENT;
    }
    pthread_mutex_unlock(&lock);
    return r;
}
