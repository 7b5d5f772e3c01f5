// The connections of a core, as an operator asks for them: rows of figures that say their own
// layout (struct plane_rows), so that whoever reads them need not be of the same build. A question
// is answered for a bounded number of connections, so a million of them stall nobody.
#include <mimalloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/core/message.h"

// Connections that one question looks at: about 50 us when none of them is in the cache.
#define LOOKED_AT_MAX 64
#define NAME_SHOWN 48 // of CLIENT SETNAME
#define TLS_SHOWN 48
// A cursor of kernel sockets beside the stack.
#define OF_SOCKETS (UINT64_C(1) << 40)

struct row {
    uint64_t id; // of the client; 0: none
    uint32_t core;
    char name[NAME_SHOWN];
    char tls[TLS_SHOWN]; // version and cipher; "": it is not encrypted
    struct stream_info info;
};

// --- the layout

static char layout[4096];
static size_t layout_len;

static void field(const char *name, const char *type, size_t offset)
{
    int n = snprintf(layout + layout_len, sizeof(layout) - layout_len, "%s %s %zu\n", name, type,
                     offset);
    if (n > 0 && (size_t)n < sizeof(layout) - layout_len)
        layout_len += (size_t)n;
}

static void layout_make(void)
{
    field("id", "u64", offsetof(struct row, id));
    field("core", "u32", offsetof(struct row, core));
    char type[16];
    snprintf(type, sizeof(type), "s%d", NAME_SHOWN);
    field("name", type, offsetof(struct row, name));
    snprintf(type, sizeof(type), "s%d", TLS_SHOWN);
    field("tls", type, offsetof(struct row, tls));
    field("local", "e", offsetof(struct row, info.local));
    field("remote", "e", offsetof(struct row, info.remote));
    field("state", "s16", offsetof(struct row, info.state));
    field("congestion", "s16", offsetof(struct row, info.congestion));
    field("timer", "s16", offsetof(struct row, info.timer));
#define X(kind, figure)                                                   \
    snprintf(type, sizeof(type), "u%zu", 8 * sizeof(kind));               \
    field(#figure, __builtin_types_compatible_p(kind, bool) ? "b" : type, \
          offsetof(struct row, info.figure));
    STREAM_FIGURES(X)
#undef X
}

// --- which ones

static bool state_wanted(const char *states, const char *state)
{
    size_t len = strlen(state);
    for (const char *at = states; at && *at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, state, len) == 0 && (at[len] == ',' || !at[len]))
            return true;
    }
    return !*states;
}

static bool wanted(const struct plane_question *q, const struct stream_info *info)
{
    if (q->local_port && q->local_port != info->local.port)
        return false;
    if (q->remote_port && q->remote_port != info->remote.port)
        return false;
    if (q->family) {
        if (info->remote.family != q->family)
            return false;
        unsigned bytes = q->prefix / 8, bits = q->prefix % 8;
        if (memcmp(info->remote.addr, q->remote, bytes) != 0)
            return false;
        if (bits && ((info->remote.addr[bytes] ^ q->remote[bytes]) & (0xff00 >> bits) & 0xff))
            return false;
    }
    return state_wanted(q->states, info->state);
}

struct listing {
    struct core *core;
    const struct plane_question *question;
    struct plane_rows *head;
    uint8_t *rows;
};

static bool list_one(void *context, const struct stream_info *info)
{
    struct listing *l = context;
    l->head->looked_at++;
    if (!wanted(l->question, info))
        return true;
    struct row row = {.core = l->core->index, .info = *info};
    if (info->owner && !migrate_owns(l->core, info->owner)) {
        const struct client *client = info->owner;
        row.id = client->id;
        snprintf(row.name, sizeof(row.name), "%.*s", NAME_SHOWN - 1, client_name(client));
        if (client->stream && tls_is(client->stream))
            snprintf(row.tls, sizeof(row.tls), "%s %s", tls_version(client->stream),
                     tls_cipher(client->stream));
    }
    row.info.owner = NULL; // an address of ours is nobody's business
    memcpy(l->rows + l->head->rows++ * sizeof(row), &row, sizeof(row));
    return l->head->rows < l->question->max;
}

// Those of the stack, then those of the kernel. Where the next question goes on; 0: nowhere.
static uint64_t list(struct core *c, uint64_t cursor, struct listing *l)
{
    if (c->net && !(cursor & OF_SOCKETS)) {
        net_each_connection(c->net, &cursor, LOOKED_AT_MAX, list_one, l);
        return cursor || !c->sockets ? cursor : OF_SOCKETS;
    }
    cursor &= ~OF_SOCKETS;
    if (!c->sockets)
        return 0;
    sockets_each(c->sockets, &cursor, LOOKED_AT_MAX, list_one, l);
    return cursor && c->net ? cursor | OF_SOCKETS : cursor;
}

void tell_connections(struct core *c, const struct plane_message *m, const uint8_t *data,
                      size_t len)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, layout_make);
    struct plane_question q;
    if (len != sizeof(q)) {
        control_answer(c, PLANE_ERROR, m, "the question has another length", 31);
        return;
    }
    memcpy(&q, data, sizeof(q));
    q.states[sizeof(q.states) - 1] = '\0';
    if (q.prefix > (q.family == 6 ? 128 : 32))
        q.prefix = q.family == 6 ? 128 : 32;
    size_t before = sizeof(struct plane_rows) + layout_len;
    uint8_t *text = mi_malloc(before + LOOKED_AT_MAX * sizeof(struct row));
    if (!text) {
        control_answer(c, PLANE_ERROR, m, "no memory for the answer", 24);
        return;
    }
    struct plane_rows head = {.row_size = sizeof(struct row), .layout_size = (uint32_t)layout_len};
    struct listing l = {.core = c, .question = &q, .head = &head, .rows = text + before};
    head.next = list(c, q.cursor, &l);
    memcpy(text, &head, sizeof(head));
    memcpy(text + sizeof(head), layout, layout_len);
    control_answer(c, PLANE_CONNECTIONS, m, text, before + head.rows * sizeof(struct row));
    mi_free(text);
}
