/*
 * Finding the disks, as they are at the moment of a start. The kernel limits each device by itself and knows nothing
 * that stands for all of them; and which of them a tree will use, nobody knows before. So it is all that hold something:
 * also those that are made of others, which costs nothing, as what passes both is held up by the slower.
 */
#include "own/disks.h"

#include "base/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define NUMBER_SIZE 24 /* of "4095:1048575\n", and to spare */

/* Memory is no disk; and what a loop device has stands in a file, on another. */
static bool is_named_as_none(const char *name) {
    static const char *const none[] = {".", "loop", "ram", "zram"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        if (strncmp(name, none[i], strlen(none[i])) == 0)
            return true;
    return false;
}

/* Its length, 0: that has gone meanwhile, or was never there; or a negative errno. */
static ssize_t read_file(int block, const char *disk, const char *file, char *ret_text) {
    char path[NAME_MAX + 16];
    snprintf(path, sizeof path, "%s/%s", disk, file);
    ssize_t n = brood__read_at(block, path, ret_text, NUMBER_SIZE);
    return n == -ENOENT || n == -ENODEV ? 0 : n;
}

/* Its number, if it is a disk with something on it: its length, 0, or a negative errno. One of several paths has none. */
static ssize_t read_number(int block, const char *name, char *ret_number) {
    char size[NUMBER_SIZE];
    if (is_named_as_none(name))
        return 0;
    ssize_t n = read_file(block, name, "size", size);
    return n <= 0 || strcmp(size, "0\n") == 0 ? n < 0 ? n : 0 : read_file(block, name, "dev", ret_number);
}

static size_t count_entries(DIR *block) {
    size_t count = 0;
    while (readdir(block))
        count++;
    rewinddir(block);
    return count;
}

/* What has come since they were counted has come after the start. */
static int list(DIR *block, brood__arena *memory, const char **ret_disks) {
    size_t most = count_entries(block), len = 0;
    char *text = brood__arena_array(memory, most + 1, NUMBER_SIZE);
    if (!text)
        return -ENOMEM;
    for (struct dirent *entry; most > 0 && (entry = readdir(block)); most--) {
        ssize_t n = read_number(dirfd(block), entry->d_name, text + len);
        if (n < 0)
            return (int)n;
        len += (size_t)n;
    }
    text[len] = '\0';
    *ret_disks = text;
    return 0;
}

int brood__disks(brood__arena *memory, const char **ret_disks) {
    *ret_disks = NULL;
    int fd = brood__open("/sys/block", O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return brood__is_shortage(fd) ? fd : 0;
    DIR *block = fdopendir(fd);
    if (!block) {
        brood__close(fd);
        return -ENOMEM;
    }
    int r = list(block, memory, ret_disks);
    closedir(block);
    return r;
}
