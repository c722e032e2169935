/* test: run */
/* cmake: glib-2.0 */
/*
 * glib_host: brood under a GLib main loop, as in a GTK program. A GSource waits for libuv's descriptor and for its next
 * timer, and runs what is due. Nothing here is special to brood: it is how any libuv code lives beside GLib.
 */
#include <brood.h>
#include <glib.h>
#include <uv.h>

typedef struct uv_source {
    GSource source;
    uv_loop_t *loop;
    gpointer tag; /* of the descriptor */
} uv_source;

/* Before GLib waits: for how long, or is something due already? */
static gboolean prepare(GSource *source, gint *ret_timeout) {
    uv_source *s = (uv_source *)source;
    uv_update_time(s->loop);
    *ret_timeout = uv_loop_alive(s->loop) ? uv_backend_timeout(s->loop) : -1;
    return *ret_timeout == 0;
}

/* After GLib has waited. */
static gboolean check(GSource *source) {
    uv_source *s = (uv_source *)source;
    uv_update_time(s->loop);
    return g_source_query_unix_fd(source, s->tag) != 0 || (uv_loop_alive(s->loop) && uv_backend_timeout(s->loop) == 0);
}

static gboolean dispatch(GSource *source, GSourceFunc callback, gpointer data) {
    (void)callback;
    (void)data;
    uv_run(((uv_source *)source)->loop, UV_RUN_NOWAIT);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs uv_source_funcs = {.prepare = prepare, .check = check, .dispatch = dispatch};

typedef struct seen {
    GMainLoop *main_loop;
    guint ticks;
    gboolean ok;
} seen;

static gboolean on_tick(gpointer data) {
    ((seen *)data)->ticks++;
    return G_SOURCE_CONTINUE;
}

static void on_result(brood_result *result, void *data) {
    seen *s = data;
    s->ok = brood_exit_ok(&result->exit) && result->out.len > 0;
    g_print("%s\n%s", result->command, result->out.bytes);
    g_main_loop_quit(s->main_loop);
}

int main(void) {
    uv_loop_t loop;
    seen s = {.main_loop = g_main_loop_new(NULL, FALSE)};

    if (uv_loop_init(&loop) < 0)
        return 1;
    uv_source *source = (uv_source *)g_source_new(&uv_source_funcs, sizeof *source);
    source->loop = &loop;
    source->tag = g_source_add_unix_fd(&source->source, uv_backend_fd(&loop), G_IO_IN);
    g_source_attach(&source->source, NULL);
    g_timeout_add(10, on_tick, &s);

    if (brood_exec(&loop, "sleep 0.2; uname -sr", &(brood_options){.timeout_ms = 10000}, on_result, &s, NULL) < 0)
        return 1;
    g_main_loop_run(s.main_loop);
    g_print("GLib's timer ticked %u times meanwhile\n", s.ticks);

    g_source_destroy(&source->source);
    g_source_unref(&source->source);
    uv_run(&loop, UV_RUN_DEFAULT); /* the child closes itself after on_result: let it */
    uv_loop_close(&loop);
    g_main_loop_unref(s.main_loop);
    return s.ok && s.ticks > 0 ? 0 : 1;
}
