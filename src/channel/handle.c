/*
 * Descriptors with messages: which of those that came belong to which message, what Node can take, and the words for
 * it. Whoever sends chooses what comes, and when: what no message speaks of is closed as soon as that is certain.
 */
#include "channel/handle.h"

#include "base/memory.h"
#include "channel/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define MOST_WAITING 1024

/* --- that came --- */

void brood__arrivals_init(brood__arrivals *a) {
    *a = (brood__arrivals){0};
    brood__list_init(&a->list);
}

static void close_all(const int *fds, size_t count) {
    for (size_t i = 0; i < count; i++)
        brood__close(fds[i]);
}

/* Takes them, also on error. */
static int keep(brood__arrivals *a, uint64_t begin, const brood__fds *came) {
    brood__arrival *arrival = NULL;
    bool too_many = a->count + came->count > MOST_WAITING;
    if (!too_many)
        arrival = brood__alloc(sizeof *arrival + came->count * sizeof *came->fds);
    if (!arrival) {
        close_all(came->fds, came->count);
        return too_many ? -EMSGSIZE : -ENOMEM;
    }
    arrival->begin = begin;
    arrival->end = a->received;
    arrival->lost = came->lost;
    arrival->count = came->count;
    memcpy(arrival->fds, came->fds, came->count * sizeof *came->fds);
    brood__list_append(&a->list, &arrival->node);
    a->count += came->count;
    return 0;
}

ssize_t brood__arrivals_receive(brood__arrivals *a, int fd, void *buffer, size_t size, int *ret_kept) {
    brood__fds came;
    uint64_t begin = a->received;
    ssize_t n = brood__receive_fds(fd, buffer, size, &came);
    *ret_kept = 0;
    if (n <= 0)
        return n;
    a->received += (uint64_t)n;
    a->came = came.count > 0 || came.lost;
    if (a->came)
        *ret_kept = keep(a, begin, &came);
    return n;
}

static brood__arrival *remove_first(brood__arrivals *a) {
    brood__arrival *first = BROOD__OUTER(a->list.next, brood__arrival, node);
    brood__list_remove(&first->node);
    a->count -= first->count;
    return first;
}

static bool begins_before(const brood__arrivals *a, uint64_t at) {
    return !brood__list_empty(&a->list) && BROOD__OUTER(a->list.next, brood__arrival, node)->begin < at;
}

void brood__arrivals_drop(brood__arrivals *a, uint64_t end) {
    while (!brood__list_empty(&a->list) && BROOD__OUTER(a->list.next, brood__arrival, node)->end <= end)
        brood__arrival_done(remove_first(a));
}

static brood__arrival *take(brood__arrivals *a, uint64_t begin, uint64_t end, size_t count) {
    brood__arrivals_drop(a, begin);
    if (!begins_before(a, end))
        return NULL;
    brood__arrival *arrival = remove_first(a);
    if (arrival->lost || arrival->count < count) {
        brood__arrival_done(arrival);
        return NULL;
    }
    close_all(arrival->fds + count, arrival->count - count);
    arrival->count = count;
    return arrival;
}

int brood__arrivals_for(brood__arrivals *a, uint64_t begin, uint64_t end, size_t count, brood__document *document,
                        brood__arrival **ret_arrival) {
    uint32_t shared = document->shared_count;
    brood__arrival *arrival = count + shared > 0 ? take(a, begin, end, count + shared) : NULL;
    int r = shared > 0 && !arrival ? -EMFILE : 0;
    for (uint32_t i = 0; r == 0 && i < shared; i++)
        r = brood__document_map(document, i, arrival->fds[count + i]);
    while (arrival && arrival->count > count)
        brood__close(arrival->fds[--arrival->count]);
    if (arrival && (r < 0 || count == 0)) {
        brood__arrival_done(arrival);
        arrival = NULL;
    }
    *ret_arrival = arrival;
    return r;
}

void brood__arrival_done(brood__arrival *arrival) {
    if (!arrival)
        return;
    close_all(arrival->fds, arrival->count);
    brood__free(arrival);
}

/* --- that go --- */

static int socket_option(int fd, int option) {
    int value = -1;
    socklen_t len = sizeof value;
    return getsockopt(fd, SOL_SOCKET, option, &value, &len) < 0 ? -1 : value;
}

/* What Node calls it. All else it would count as none, or die of: a regular file, a device, a terminal. */
static int classify(int fd, brood__parcel *p) {
    struct stat status;
    if (fstat(fd, &status) < 0)
        return -errno;
    if (S_ISFIFO(status.st_mode)) { /* a net.Socket reads at once, and dies of a pipe that can only be written to */
        p->type = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY ? "net.Native" : "net.Socket";
        return 0;
    }
    int domain = socket_option(fd, SO_DOMAIN), type = socket_option(fd, SO_TYPE);
    bool internet = domain == AF_INET || domain == AF_INET6;
    if (type == SOCK_STREAM && (internet || domain == AF_UNIX)) {
        p->type = socket_option(fd, SO_ACCEPTCONN) == 1 ? "net.Server" : "net.Socket";
    } else if (type == SOCK_DGRAM && internet) {
        p->type = "dgram.Socket";
        p->dgram_type = domain == AF_INET ? "udp4" : "udp6";
    } else {
        return -EOPNOTSUPP;
    }
    return 0;
}

static int fill(brood__parcel *p, const int *fds, size_t count, bool to_node) {
    int r = to_node ? classify(fds[0], p) : 0;
    while (r >= 0 && p->count < count) {
        r = brood__duplicate(fds[p->count]);
        if (r >= 0)
            p->fds[p->count++] = r;
    }
    return r < 0 ? r : 0;
}

int brood__parcel_new(const int *fds, size_t count, bool to_node, brood__parcel **ret_parcel) {
    if (count > (to_node ? 1 : BROOD__MAX_FDS))
        return -EOPNOTSUPP;
    brood__parcel *p = brood__alloc(sizeof *p + count * sizeof *fds);
    if (!p)
        return -ENOMEM;
    int r = count > 0 ? fill(p, fds, count, to_node) : 0;
    if (r < 0) {
        brood__parcel_free(p);
        return r;
    }
    brood__list_init(&p->node);
    *ret_parcel = p;
    return 0;
}

int brood__parcel_share(brood__parcel **parcel, brood_writer *w) {
    brood__parcel *p = *parcel;
    if (!p && brood__parcel_new(NULL, 0, false, &p) < 0)
        return -ENOMEM;
    *parcel = p;
    brood__parcel *larger = brood__resize(p, sizeof *p + (p->count + w->shared_count) * sizeof *p->fds);
    if (!larger)
        return -ENOMEM;
    brood__list_init(&larger->node);
    memcpy(larger->fds + larger->count, w->shared, w->shared_count * sizeof *w->shared);
    larger->count += w->shared_count;
    larger->elsewhere = w->shared_bytes;
    w->shared_count = 0;
    *parcel = larger;
    return 0;
}

void brood__parcel_close_fds(brood__parcel *p) {
    close_all(p->fds, p->count);
    p->count = 0;
}

void brood__parcel_free(brood__parcel *p) {
    if (p)
        brood__parcel_close_fds(p);
    brood__free(p);
}

void brood__share_bytes(brood_writer *w, size_t fd_count) {
    size_t most = BROOD__MAX_FDS - fd_count;
    w->max_shared = !w->advanced ? 0 : most < BROOD__MAX_SHARED ? (uint32_t)most : BROOD__MAX_SHARED;
}

void brood__expect_shared(brood__document *document, bool advanced) {
    document->max_shared = advanced ? BROOD__MAX_SHARED : 0;
}

/* --- words --- */

static const char *const words[] = {
    [BROOD__ENVELOPE] = "NODE_HANDLE",
    [BROOD__ACK] = "NODE_HANDLE_ACK",
    [BROOD__NACK] = "NODE_HANDLE_NACK",
    [BROOD__HELLO] = "NODE_BROOD_HELLO",
    [BROOD__NOTIFY_CLOSE] = "NODE_SOCKET_NOTIFY_CLOSE",
    [BROOD__ALL_CLOSED] = "NODE_SOCKET_ALL_CLOSED",
    [BROOD__GET_COUNT] = "NODE_SOCKET_GET_COUNT",
    [BROOD__COUNT] = "NODE_SOCKET_COUNT",
};

static void write_word(brood_writer *w, const char *key, const char *word) {
    brood_writer_key(w, key);
    brood_writer_string(w, word, BROOD_NUL);
}

/* Node's members, in Node's order. */
void brood__envelope_begin(brood_writer *w, const brood__parcel *p) {
    brood_writer_object(w);
    write_word(w, "cmd", words[BROOD__ENVELOPE]);
    if (p->type) {
        write_word(w, "type", p->type);
    } else {
        brood_writer_key(w, "count");
        brood_writer_int64(w, (int64_t)p->count);
    }
    brood_writer_key(w, "msg");
}

void brood__envelope_end(brood_writer *w, const brood__parcel *p) {
    if (brood__writer_is_due(w))
        brood__writer_fail(w, -EINVAL);
    if (p->dgram_type)
        write_word(w, "dgramType", p->dgram_type);
    brood_writer_end(w);
}

/* An object's member `cmd`, or NULL. By hand, and not through the view, since every message is asked for it. */
static const brood__node *cmd_of(brood_value message) {
    const brood__document *document = message.document;
    if (!document || (message.node == 0 && (document->root_lacks & brood__name_bit("cmd", 3))))
        return NULL;
    const brood__node *nodes = document->nodes, *object = &nodes[message.node];
    if (object->type == BROOD__REFERENCE)
        object = &nodes[object->target];
    if (object->type != BROOD_OBJECT)
        return NULL;
    uint32_t name = (uint32_t)(object - nodes) + 1, end = name - 1 + object->size;
    for (; name < end; name = brood__node_next(document, name + 1))
        if (nodes[name].size == 3 && memcmp(nodes[name].text, "cmd", 3) == 0)
            return &nodes[name + 1];
    return NULL;
}

brood__internal brood__internal_of(brood_value message) {
    const brood__node *cmd = cmd_of(message);
    if (!cmd || cmd->type != BROOD_STRING || cmd->size <= 5 || memcmp(cmd->text, "NODE_", 5) != 0)
        return BROOD__NOT_INTERNAL;
    for (unsigned i = BROOD__ENVELOPE; i < sizeof words / sizeof *words; i++)
        if (strcmp(cmd->text, words[i]) == 0)
            return (brood__internal)i;
    return BROOD__UNKNOWN;
}

brood_value brood__envelope_open(brood_value message, size_t *ret_count) {
    uint64_t count = 1;
    while (brood__internal_of(message) == BROOD__ENVELOPE) {
        (void)brood_value_uint64(brood_value_get(message, "count"), &count);
        message = brood_value_get(message, "msg");
    }
    *ret_count = count < BROOD__MAX_FDS ? (size_t)count : BROOD__MAX_FDS;
    return message;
}

int brood__say(brood_writer *w, brood__internal what, brood_value key) {
    brood__frame_begin(w);
    brood_writer_object(w);
    write_word(w, "cmd", words[what]);
    if (brood_value_type(key) != BROOD_MISSING) {
        brood_writer_key(w, "key");
        brood_writer_value(w, key);
    }
    if (what == BROOD__COUNT) { /* what was handed to the program is its own, and nobody counts it */
        brood_writer_key(w, "count");
        brood_writer_int64(w, 0);
    }
    brood_writer_end(w);
    return brood__frame_end(w);
}
