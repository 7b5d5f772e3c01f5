// The client of one connection: protocol state that outlives a command. Owned by the core that
// accepted the connection; commands that run elsewhere see a copy of its `session` only.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/outbuf.h"
#include "common/stream.h"
#include "dataplane/resp/parser.h"
#include "dataplane/resp/view.h"

struct access_user;
struct command;
struct message;
struct reply_slot;
struct subscriber;
struct told;
struct tracker;
struct transaction;
struct waiter;
struct watching;

enum client_flags {
    CLIENT_CLOSE_AFTER_REPLY =
        1u << 0,              // QUIT, protocol error, killed: what is written still goes out
    CLIENT_CLOSING = 1u << 1, // the stream was told to close
    CLIENT_REPLY_OFF = 1u << 2,
    CLIENT_REPLY_SKIP_NEXT = 1u << 3,
    CLIENT_REPLY_SKIP = 1u << 4,
    CLIENT_EOF = 1u << 5,
    CLIENT_UNIX = 1u << 6,
    CLIENT_LOOPBACK = 1u << 7,
    CLIENT_QUEUED = 1u << 8,     // is in the core's list of clients with something to parse
    CLIENT_TO_PUSH = 1u << 9,    // is in the core's list of streams to push
    CLIENT_STARVED = 1u << 10,   // is in the core's list of clients that found no credit
    CLIENT_OUT_FULL = 1u << 11,  // above STREAM_OUT_HIGH: not parsed further
    CLIENT_INTERNAL = 1u << 12,  // the control plane's
    CLIENT_GONE = 1u << 13,      // the stream is closed; waits for replies under way
    CLIENT_BARRIER = 1u << 14,   // a command that nothing may overtake is under way
    CLIENT_BROKEN = 1u << 15,    // a protocol error, to be told after what came before it
    CLIENT_MULTI = 1u << 16,     // what it sends is kept for EXEC
    CLIENT_PUBSUB = 1u << 17,    // subscribed to a channel or pattern at least
    CLIENT_PUBLISH = 1u << 18,   // all that is under way are commands that may follow each other
    CLIENT_POSTPONED = 1u << 19, // a command of it waits for the end of CLIENT PAUSE
    CLIENT_TRACKED = 1u << 20,   // it has a tracker
    CLIENT_CACHING = 1u << 21,   // CLIENT CACHING was given for its next command
    CLIENT_EXEC = 1u << 22,      // its EXEC is under way
    CLIENT_MONITOR = 1u << 24,   // is told of every command (dataplane/core/monitor.h)
};

struct client {
    struct stream *stream; // NULL once closed
    uint64_t id;
    uint32_t flags; // enum client_flags
    union {
        struct {
            CLIENT_VIEW;
        };
        struct client_view view;
    };
    bool limited; // its commands are looked at before they run: it may not do everything
    const struct access_user *user; // who it is, counted; NULL: the server itself

    struct parser parser;

    // Replies that wait for an earlier one: in order, the first is the oldest. Empty: replies go
    // straight to the stream.
    struct reply_slot *first_reply, *last_reply;
    unsigned replies_waiting;

    // Copied commands that wait for the replies before them, or for credit
    // (dataplane/core/route.c).
    struct message *first_pending, *last_pending;
    unsigned pending;
    size_t pending_bytes; // of the copies

    struct transaction *transaction; // from MULTI to EXEC (dataplane/core/transaction.h)
    struct tracker *tracker;         // client-side caching (dataplane/core/tracking.h); NULL: none
    struct watching *watching;       // keys that it watches (dataplane/core/watch.h)
    struct waiter *waiter; // blocked: a command of it waits for a key (dataplane/core/blocked.h)

    struct subscriber *subscriber; // to channels (dataplane/core/publish.c); NULL: it never was
    struct told *told; // what a handler told it that is under way (dataplane/core/clients.c)
    size_t told_bytes; // of messages, since its output was last looked at for them

    struct client *next_queued; // in the core's list of clients to parse
    struct client *next_starved;
    struct client *next_push;
    struct client *prev_postponed, *next_postponed;
    struct client *prev, *next; // all clients of the core
    // By what it holds (dataplane/core/client_memory.h).
    struct client *prev_weight, *next_weight;
    uint64_t counted_bytes;
    uint8_t weight;

    // For CLIENT LIST and time-outs.
    uint64_t created_us, last_active_us;
    uint64_t checked_us;           // when its silent peer was asked for
    uint64_t output_soft_since_us; // when the soft output limit was first passed, 0: it is not
    const struct command *last_command;
    char name[64];   // CLIENT SETNAME, or a longer one in name_long
    char *name_long; // mimalloc; NULL: `name` holds it
    char lib_name[32], lib_version[32];
    uint64_t bytes_in, bytes_out, commands;
    struct endpoint local, remote;

    // CLIENT_INTERNAL: where the reply collects and what it answers.
    struct outbuf internal_out;
    uint64_t internal_request, internal_generation;
};

// The name given with CLIENT SETNAME, "" if none.
static inline const char *client_name(const struct client *c)
{
    return c->name_long ? c->name_long : c->name;
}
