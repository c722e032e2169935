/*
 * A main() for a fuzz target where there is no libFuzzer: runs it once over each file of the directories and files
 * named as arguments, and over an empty input. A crash is the failure.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static unsigned runs;

static void replay_file(const char *path) {
    FILE *file = fopen(path, "rb");
    struct stat st;
    if (!file || fstat(fileno(file), &st) != 0) {
        perror(path);
        exit(1);
    }
    /* Exactly as large as the input, so that a sanitizer sees a read past its end. */
    size_t len = (size_t)st.st_size;
    uint8_t *bytes = malloc(len ? len : 1);
    if (!bytes || fread(bytes, 1, len, file) != len) {
        perror(path);
        exit(1);
    }
    fclose(file);
    printf("%s\n", path);
    fflush(stdout);
    LLVMFuzzerTestOneInput(bytes, len);
    free(bytes);
    runs++;
}

static void replay(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) {
        replay_file(path);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        char inside[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(inside, sizeof inside, "%s/%s", path, entry->d_name);
        replay_file(inside);
    }
    closedir(dir);
}

int main(int argc, char **argv) {
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    printf("%u inputs\n", runs);
    return runs == 0;
}
