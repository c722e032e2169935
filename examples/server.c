/*
 * A web server that answers each request with what a program writes, while the program writes it. One thread, one
 * loop; programs are started off the loop, a slow client slows down its own program and nobody else's, and a
 * client that leaves takes its program with it.
 *
 *     server [PORT [PROGRAM [ARG...]]]         8080 echo hi; port 0: any that is free
 *
 * HTTP/1.1 as far as that needs it: GET, keep-alive, pipelining, answers in chunks. It binds 127.0.0.1, and nothing
 * else.
 */
#include <brood.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

enum { REQUEST_MAX = 8192, QUEUE_MAX = 256 << 10 };

/* A connection, and the program that answers on it. It lives until both its socket and its child are closed. */
typedef struct connection {
    uv_tcp_t socket;
    char request[REQUEST_MAX + 1];
    size_t request_len;
    brood_child *child; /* NULL: no request is being answered */
    bool keep;          /* another request may follow */
    bool answered;      /* the head of the answer is out */
    bool leaving;       /* the socket is being closed */
    bool left;          /* it is closed */
} connection;

/* What the socket did not take at once. */
typedef struct write_rest {
    uv_write_t request;
    char bytes[];
} write_rest;

static const char *const *program = BROOD_ARGS("echo", "hi");

static void next_request(connection *c);
static void feed(uv_handle_t *handle, size_t size, uv_buf_t *ret_buffer);
static void on_bytes(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer);

static uv_buf_t text(const char *bytes, size_t len) {
    return uv_buf_init((char *)(uintptr_t)bytes, (unsigned)len);
}

/* --- the end of a connection --- */

static void release(connection *c) {
    if (c->left && !c->child)
        free(c);
}

static void on_socket_closed(uv_handle_t *handle) {
    connection *c = handle->data;
    c->left = true;
    release(c);
}

static void drop(connection *c) {
    if (c->leaving)
        return;
    c->leaving = true;
    uv_close((uv_handle_t *)&c->socket, on_socket_closed);
    brood_child_close(c->child); /* stops it if it runs; its on_close still comes */
}

/* --- to the client --- */

static void on_sent(uv_write_t *request, int error) {
    connection *c = request->handle->data;
    free(request->data);
    if (error < 0)
        drop(c);
    else if (!c->leaving && c->child && uv_stream_get_write_queue_size((uv_stream_t *)&c->socket) < QUEUE_MAX)
        brood_stream_resume(brood_child_stream(c->child, 1));
}

static void put(connection *c, const uv_buf_t *parts, unsigned count) {
    if (c->leaving)
        return;
    int r = uv_try_write((uv_stream_t *)&c->socket, parts, count);
    size_t skip = r > 0 ? (size_t)r : 0, len = 0;
    for (unsigned i = 0; i < count; i++)
        len += parts[i].len;
    if (skip == len)
        return;
    write_rest *rest = r < 0 && r != UV_EAGAIN ? NULL : malloc(sizeof *rest + len);
    if (!rest) {
        drop(c);
        return;
    }
    len = 0;
    for (unsigned i = 0; i < count; i++) {
        size_t from = skip < parts[i].len ? skip : parts[i].len;
        memcpy(rest->bytes + len, parts[i].base + from, parts[i].len - from);
        len += parts[i].len - from;
        skip -= from;
    }
    uv_buf_t all = text(rest->bytes, len);
    rest->request.data = rest;
    uv_write(&rest->request, (uv_stream_t *)&c->socket, &all, 1, on_sent);
}

/* A whole answer of our own, after which nothing that the program may still write belongs to it. */
static void refuse(connection *c, const char *status, const char *why) {
    char answer[1024];
    int len =
        snprintf(answer, sizeof answer, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%s\n",
                 status, strlen(why) + 1, why);
    uv_buf_t all = text(answer, (size_t)len);
    put(c, &all, 1);
    c->answered = true;
}

static uv_buf_t head_once(connection *c) {
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
    size_t len = c->answered ? 0 : sizeof head - 1;
    c->answered = true;
    return text(head, len);
}

/* --- the program --- */

static void on_output(brood_stream *stream, const char *bytes, size_t len, void *data) {
    connection *c = data;
    char size[24];
    int size_len = snprintf(size, sizeof size, "%zx\r\n", len);
    uv_buf_t parts[] = {head_once(c), text(size, (size_t)size_len), text(bytes, len), text("\r\n", 2)};
    put(c, parts, 4);
    if (!c->leaving && uv_stream_get_write_queue_size((uv_stream_t *)&c->socket) >= QUEUE_MAX)
        brood_stream_pause(stream);
}

static void on_error(brood_child *child, const brood_failure *why, void *data) {
    (void)child;
    refuse(data, "500 Internal Server Error", why->message);
}

static void on_close(brood_child *child, const brood_exit *ended, void *data) {
    connection *c = data;
    c->child = NULL;
    if (c->leaving) {
        release(c);
        return;
    }
    brood_child_close(child);
    if (ended->reason == BROOD_REASON_EXITED) {
        uv_buf_t parts[] = {head_once(c), text("0\r\n\r\n", 5)};
        put(c, parts, 2);
    } else if (ended->reason != BROOD_REASON_NOT_STARTED) {
        c->keep = false; /* without its last chunk the client sees that the answer is not whole */
    }
    next_request(c);
}

static void answer(connection *c) {
    brood_failure why;
    brood_options options = {
        .args = program,
        .in = {.kind = BROOD_STDIO_IGNORE},
        .out = {.on_data = on_output},
        .err = {.kind = BROOD_STDIO_INHERIT},
        .own = BROOD_OWN_GROUP, /* what the program has started goes with it */
        .offload = true,
        .on_error = on_error,
        .on_close = on_close,
        .data = c,
    };
    c->answered = false;
    if (brood_spawn(c->socket.loop, &options, &c->child, &why) < 0) {
        c->keep = false;
        refuse(c, "500 Internal Server Error", why.message);
    }
}

/* --- from the client --- */

static bool wants_to_leave(const char *head) {
    static const char name[] = "\r\nconnection: close\r\n";
    for (; *head; head++)
        if (strncasecmp(head, name, sizeof name - 1) == 0)
            return true;
    return false;
}

/* Answer requests until one has to be waited for. */
static void next_request(connection *c) {
    while (!c->child && !c->leaving) {
        char *end = strstr(c->request, "\r\n\r\n");
        if (!c->keep) {
            drop(c);
        } else if (end) {
            size_t len = (size_t)(end - c->request) + 4;
            bool get = strncmp(c->request, "GET ", 4) == 0;
            end[2] = '\0';
            c->keep = get && !wants_to_leave(c->request);
            c->request_len -= len;
            memmove(c->request, c->request + len, c->request_len + 1);
            if (get)
                answer(c);
            else
                refuse(c, "405 Method Not Allowed", "only GET");
        } else if (c->request_len == REQUEST_MAX) {
            c->keep = false;
            refuse(c, "431 Request Header Fields Too Large", "too long");
        } else {
            break;
        }
    }
    if (!c->leaving && c->request_len < REQUEST_MAX)
        uv_read_start((uv_stream_t *)&c->socket, feed, on_bytes); /* harmless if it does already */
}

static void feed(uv_handle_t *handle, size_t size, uv_buf_t *ret_buffer) {
    connection *c = handle->data;
    (void)size;
    *ret_buffer = uv_buf_init(c->request + c->request_len, (unsigned)(REQUEST_MAX - c->request_len));
}

static void on_bytes(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer) {
    connection *c = stream->data;
    (void)buffer;
    if (n < 0) {
        drop(c);
        return;
    }
    c->request_len += (size_t)n;
    c->request[c->request_len] = '\0';
    if (c->request_len == REQUEST_MAX)
        uv_read_stop(stream); /* an answer is being given, and more are asked for than we remember */
    next_request(c);
}

static void on_connection(uv_stream_t *server, int error) {
    connection *c = error < 0 ? NULL : calloc(1, sizeof *c);
    if (!c)
        return;
    c->keep = true;
    uv_tcp_init(server->loop, &c->socket);
    c->socket.data = c;
    if (uv_accept(server, (uv_stream_t *)&c->socket) < 0) {
        drop(c);
        return;
    }
    uv_tcp_nodelay(&c->socket, 1);
    next_request(c);
}

/* --- the server --- */

static void close_ours(uv_handle_t *handle, void *arg) {
    (void)arg;
    if (brood_loop_owns(handle->loop, handle) || uv_is_closing(handle))
        return;
    if (handle->data) /* a connection */
        drop(handle->data);
    else
        uv_close(handle, NULL);
}

/* The loop ends by itself once all is closed and every child has been collected. */
static void on_signal(uv_signal_t *signal, int number) {
    (void)number;
    uv_walk(signal->loop, close_ours, NULL);
}

int main(int argc, char **argv) {
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t server;
    uv_signal_t terminated, interrupted;
    struct sockaddr_in address;
    int address_len = sizeof address;

    if (argc > 2)
        program = (const char *const *)argv + 2;
    signal(SIGPIPE, SIG_IGN); /* for sockets; children start with the default */
    uv_ip4_addr("127.0.0.1", argc > 1 ? atoi(argv[1]) : 8080, &address);
    uv_tcp_init(loop, &server);
    server.data = NULL;
    int r = uv_tcp_bind(&server, (struct sockaddr *)&address, 0);
    if (r == 0)
        r = uv_listen((uv_stream_t *)&server, 511, on_connection);
    if (r < 0) {
        fprintf(stderr, "server: %s\n", uv_strerror(r));
        return 1;
    }
    uv_signal_init(loop, &terminated);
    uv_signal_init(loop, &interrupted);
    terminated.data = interrupted.data = NULL;
    uv_signal_start(&terminated, on_signal, SIGTERM);
    uv_signal_start(&interrupted, on_signal, SIGINT);
    uv_tcp_getsockname(&server, (struct sockaddr *)&address, &address_len);
    printf("http://127.0.0.1:%d/\n", ntohs(address.sin_port));
    fflush(stdout);

    uv_run(loop, UV_RUN_DEFAULT);
    return uv_loop_close(loop) < 0;
}
