// Messages and the rings that carry them: one single-producer single-consumer ring of pointers for
// each ordered pair of cores (DPDK's rte_ring over our own memory; the EAL is not needed).
#include "dataplane/core/message.h"

#include <assert.h>
#include <mimalloc.h>
#include <string.h>

#include <rte_ring.h>

#include "common/block.h"
#include "dataplane/core/blocked.h"
#include "dataplane/core/transaction.h"
#include "dataplane/core/watch.h"

// Arguments of at least this many bytes travel in a block of their own, which the store may keep.
#define MESSAGE_BLOCK_MIN BLOCK_VALUE_MIN
#define MESSAGE_BURST 64

size_t args_room(size_t head, int argc, const struct arg *argv)
{
    size_t bytes = head + (size_t)argc * sizeof(struct arg);
    for (int i = 0; i < argc; i++)
        if (!argv[i].block && argv[i].len < MESSAGE_BLOCK_MIN)
            bytes += argv[i].len;
    return bytes;
}

bool args_place(void *whole, size_t head, int argc, const struct arg *argv, struct arg **copy,
                size_t *blocks)
{
    struct arg *args = *copy = (struct arg *)(void *)((uint8_t *)whole + head);
    uint8_t *to = (uint8_t *)whole + head + (size_t)argc * sizeof(struct arg);
    *blocks = 0;
    for (int i = 0; i < argc; i++) {
        args[i] = argv[i];
        if (argv[i].block) {
            block_retain(argv[i].block);
            *blocks += argv[i].len;
        } else if (argv[i].len >= MESSAGE_BLOCK_MIN) {
            struct block *b = block_new(argv[i].len);
            if (!b) {
                args_release(i, args);
                return false;
            }
            memcpy(b->data, argv[i].ptr, argv[i].len);
            b->len = argv[i].len;
            args[i] = (struct arg){b->data, b->len, b};
            *blocks += argv[i].len;
        } else {
            memcpy(to, argv[i].ptr, argv[i].len);
            args[i].ptr = to;
            to += argv[i].len;
        }
    }
    return true;
}

void args_release(int argc, const struct arg *argv)
{
    for (int i = 0; i < argc; i++)
        block_release(argv[i].block);
}

struct message *message_command(const struct session *session, const struct command *command,
                                int argc, const struct arg *argv)
{
    size_t blocks;
    struct arg *copy;
    size_t bytes = args_room(sizeof(struct message), argc, argv);
    struct message *m = mi_malloc(bytes);
    if (!m || !args_place(m, sizeof(*m), argc, argv, &copy, &blocks)) {
        mi_free(m);
        return NULL;
    }
    memset(m, 0, sizeof(*m));
    m->kind = MESSAGE_COMMAND;
    m->session = *session;
    access_user_hold(m->session.user);
    m->command = command;
    m->argc = argc;
    m->bytes = bytes + blocks;
    m->argv = copy;
    outbuf_init(&m->out);
    return m;
}

void message_session(struct message *m, const struct session *session)
{
    access_user_hold(session->user);
    access_user_drop(m->session.user);
    m->session = *session;
}

void message_free(struct message *m)
{
    args_release(m->argc, m->argv);
    access_user_drop(m->session.user);
    outbuf_clear(&m->out);
    transaction_free(m->transaction);
    mi_free(m->passed);
    mi_free(m->slots);
    mi_free(m);
}

bool mailbox_open(struct server *server)
{
    for (unsigned from = 0; from < server->n_cores; from++)
        for (unsigned to = 0; to < server->n_cores; to++) {
            if (from == to)
                continue;
            ssize_t size = rte_ring_get_memsize(MAILBOX_SLOTS);
            struct rte_ring *ring = mi_malloc_aligned((size_t)size, RTE_CACHE_LINE_SIZE);
            if (!ring ||
                rte_ring_init(ring, "mailbox", MAILBOX_SLOTS, RING_F_SP_ENQ | RING_F_SC_DEQ))
                return false;
            server->cores[from]->ring[to] = ring;
            server->cores[from]->credits[to] = MAILBOX_CREDITS;
        }
    return true;
}

void mailbox_close(struct server *server)
{
    for (unsigned from = 0; from < server->n_cores && server->cores[from]; from++)
        for (unsigned to = 0; to < server->n_cores; to++) {
            struct rte_ring *ring = server->cores[from]->ring[to];
            void *left;
            while (ring && rte_ring_sc_dequeue(ring, &left) == 0)
                continue;
            mi_free(ring);
            server->cores[from]->ring[to] = NULL;
        }
}

void mailbox_send(struct core *c, unsigned to, struct message *m)
{
    int full = rte_ring_sp_enqueue(c->ring[to], m);
    assert(!full);
    (void)full;
    c->posted[to] = true;
}

void mailbox_post(struct core *c, unsigned to, struct message *m)
{
    if (!c->backlog_first[to] && rte_ring_count(c->ring[to]) < MAILBOX_CREDITS) {
        mailbox_send(c, to, m);
        return;
    }
    m->next = NULL;
    if (c->backlog_last[to])
        c->backlog_last[to]->next = m;
    else
        c->backlog_first[to] = m;
    c->backlog_last[to] = m;
    c->backlog++;
}

bool mailbox_tell(struct core *c, unsigned to, const struct session *session, int argc,
                  const struct arg *argv, void (*news)(struct core *c, struct message *m))
{
    struct message *m = message_command(session, NULL, argc, argv);
    if (!m)
        return false;
    m->kind = MESSAGE_NEWS;
    m->from = c->index;
    m->news = news;
    mailbox_post(c, to, m);
    return true;
}

bool mailbox_tell_all(struct core *c, const struct session *session, int argc,
                      const struct arg *argv, void (*news)(struct core *c, struct message *m))
{
    bool ok = true;
    for (unsigned to = 0; to < c->server->n_cores; to++)
        if (to != c->index)
            ok &= mailbox_tell(c, to, session, argc, argv, news);
    return ok;
}

static void send_backlog(struct core *c)
{
    for (unsigned to = 0; to < c->server->n_cores; to++) {
        struct message *m;
        while ((m = c->backlog_first[to]) && rte_ring_count(c->ring[to]) < MAILBOX_CREDITS) {
            c->backlog_first[to] = m->next;
            if (!m->next)
                c->backlog_last[to] = NULL;
            c->backlog--;
            mailbox_send(c, to, m);
        }
    }
}

static void receive_one(struct core *c, struct message *m)
{
    switch (m->kind) {
    case MESSAGE_COMMAND:
        route_execute(c, m);
        break;
    case MESSAGE_REPLY:
        route_replied(c, m);
        break;
    case MESSAGE_BORROW:
        loan_lend(c, m);
        break;
    case MESSAGE_GRANT:
        loan_granted(c, m);
        break;
    case MESSAGE_RETURN:
        loan_returned(c, m);
        break;
    case MESSAGE_PART:
        gather_part(c, m);
        break;
    case MESSAGE_PART_DONE:
        gather_part_done(c, m);
        break;
    case MESSAGE_NET:
        passed_take(c, m);
        break;
    case MESSAGE_BLOCKED:
    case MESSAGE_SERVED:
    case MESSAGE_RETRY:
        blocked_message(c, m);
        break;
    case MESSAGE_UNPARK:
        parked_unpark(c, m);
        break;
    case MESSAGE_UNWATCH:
        watch_out(c, m);
        break;
    case MESSAGE_NEWS:
        m->news(c, m);
        message_free(m);
        break;
    }
}

bool mailbox_receive(struct core *c)
{
    bool any = false;
    if (c->backlog)
        send_backlog(c);
    for (unsigned from = 0; from < c->server->n_cores; from++) {
        if (from == c->index)
            continue;
        void *burst[MESSAGE_BURST];
        unsigned n = rte_ring_sc_dequeue_burst(c->server->cores[from]->ring[c->index], burst,
                                               MESSAGE_BURST, NULL);
        for (unsigned i = 0; i < n; i++) {
            // The ring has filled it. NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign)
            struct message *m = burst[i];
            if (m->kind == MESSAGE_COMMAND && m->has_key && !loan_holds(c, m->key.slot))
                store_prefetch_slot(c->store, m->session.db, &m->key);
        }
        struct fetch fetch[MESSAGE_BURST];
        for (unsigned i = 0; i < n; i++) {
            struct message *m = burst[i];
            fetch[i].bucket = NULL;
            if (m->kind == MESSAGE_COMMAND && m->has_key && !loan_holds(c, m->key.slot))
                store_prefetch_bucket(c->store, m->session.db, &m->key, &fetch[i]);
        }
        for (unsigned i = 0; i < n; i++)
            if (fetch[i].bucket)
                store_prefetch_entry(&((struct message *)burst[i])->key, &fetch[i]);
        for (unsigned i = 0; i < n; i++)
            receive_one(c, burst[i]);
        any |= n > 0;
    }
    return any;
}

bool mailbox_takes_frame(const struct core *c, unsigned to)
{
    return rte_ring_count(c->ring[to]) < MAILBOX_CREDITS;
}

bool mailbox_pending(struct core *c)
{
    for (unsigned from = 0; from < c->server->n_cores; from++)
        if (from != c->index && !rte_ring_empty(c->server->cores[from]->ring[c->index]))
            return true;
    return false;
}

void mailbox_wake(struct core *c)
{
    bool fenced = false;
    for (unsigned to = 0; to < c->server->n_cores; to++) {
        if (!c->posted[to])
            continue;
        c->posted[to] = false;
        if (!fenced)
            atomic_thread_fence(memory_order_seq_cst);
        fenced = true;
        struct core *other = c->server->cores[to];
        if (atomic_load_explicit(&other->sleeping, memory_order_relaxed)) {
            c->counters.wakes++;
            io_wake(other->io);
        }
    }
}
