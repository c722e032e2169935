/**
 * How fast does a child's output come through, and does memory stay flat? A program writes so many MiB.
 *
 *     callback   brood, into an on_data callback
 *     bare       a bare read loop with a buffer of 64 KiB
 *     file       brood, the slot is a file
 *     bare-file  the file opened and given to the child, nothing more
 *     shell      `sh -c 'program > file'`
 *
 *     bench-stream VARIANT MIB FILE WRITER       (FILE is not used by callback and bare)
 */
#include "bare.h"

#include <brood.h>
#include <sys/stat.h>
#include <uv.h>

static bench_run run = {.c = 1};
static const char *path;
static char *writer[3];
static char *stack;
static uint64_t received;

/* --- brood --- */

static void count(brood_stream *stream, const char *bytes, size_t len, void *data) {
    (void)stream, (void)bytes, (void)data;
    received += len;
}

static void on_close(brood_child *child, const brood_exit *ended, void *data) {
    (void)child, (void)data;
    if (!brood_exit_ok(ended))
        bench_fail(writer[0], brood_reason_text(ended->reason));
}

static void spawn(brood_stdio out) {
    brood_failure why;
    brood_options options = {
        .args = (const char *const *)writer,
        .in = {.kind = BROOD_STDIO_IGNORE},
        .out = out,
        .err = {.kind = BROOD_STDIO_INHERIT},
        .on_close = on_close,
    };
    if (brood_spawn(uv_default_loop(), &options, NULL, &why) < 0)
        bench_fail("brood_spawn", why.message);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}

static void by_callback(void) {
    spawn((brood_stdio){.on_data = count});
}

static void by_file(void) {
    spawn((brood_stdio){.kind = BROOD_STDIO_FILE, .path = path});
}

/* --- bare --- */

/** Start `args` with `out_fd` as its output, which is closed here; `read_fd`: read it to the end. Wait. */
static void run_bare(char *const *args, int out_fd, int read_fd) {
    static char bytes[65536];
    bare_child child;
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0 || out_fd < 0)
        bench_fail("open", strerror(errno));
    bare_program program = {.args = args, .fds = {null_fd, out_fd, 2}};
    bare_start(&program, stack, &child);
    close(null_fd);
    close(out_fd);
    for (ssize_t n; read_fd >= 0 && (n = read(read_fd, bytes, sizeof bytes)) > 0;)
        received += (uint64_t)n;
    if (read_fd >= 0)
        close(read_fd);
    bare_reap(&child);
}

static void by_bare(void) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        bench_fail("pipe", strerror(errno));
    run_bare(writer, fds[1], fds[0]);
}

static void by_bare_file(void) {
    run_bare(writer, open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), -1);
}

static void by_shell(void) {
    static char sh[] = "sh", c[] = "-c", script[] = "\"$0\" \"$1\" > \"$2\"";
    char *file = strdup(path);
    char *args[] = {sh, c, script, writer[0], writer[1], file, NULL};
    run_bare(args, open("/dev/null", O_WRONLY | O_CLOEXEC), -1);
    free(file);
}

/* --- rounds --- */

static const struct {
    const char *name, *peer;
    bool to_file;
    void (*go)(void);
} variants[] = {
    {"callback", "brood", false, by_callback}, {"bare", "bare", false, by_bare}, {"file", "brood", true, by_file},
    {"bare-file", "bare", true, by_bare_file}, {"shell", "sh", true, by_shell},
};

static unsigned long peak_kb(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (unsigned long)usage.ru_maxrss;
}

static void remove_file(size_t variant) {
    struct stat file;
    if (variants[variant].to_file && lstat(path, &file) == 0 && S_ISREG(file.st_mode))
        unlink(path);
}

static void round_of(size_t variant) {
    char more[96];
    struct stat file;
    unsigned long before_kb = peak_kb();

    remove_file(variant); /* outside the clock: freeing its pages is not what is asked for */
    received = 0;
    bench_run_begin(&run);
    variants[variant].go();
    uint64_t got = received;
    if (variants[variant].to_file && stat(path, &file) == 0)
        got = (uint64_t)file.st_size;
    if (got != (uint64_t)run.n << 20)
        bench_fail(run.variant, "bytes are missing");
    snprintf(more, sizeof more, "\"peak_rss_kb\":%lu,\"grown_kb\":%lu", peak_kb(), peak_kb() - before_kb);
    bench_run_end(&run, more);
    remove_file(variant);
}

int main(int argc, char **argv) {
    size_t variant = 0, count_of = sizeof variants / sizeof *variants;
    if (argc != 5)
        bench_fail("usage", "bench-stream callback|bare|file|bare-file|shell MIB FILE WRITER");
    while (variant < count_of && strcmp(argv[1], variants[variant].name) != 0)
        variant++;
    if (variant == count_of)
        bench_fail(argv[1], "no such variant");
    run.variant = argv[1];
    run.peer = variants[variant].peer;
    run.n = bench_number(argv[2]);
    path = argv[3];
    writer[0] = argv[4];
    writer[1] = argv[2];
    stack = bare_stack_new();
    while (bench_next_round())
        round_of(variant);
    return 0;
}
