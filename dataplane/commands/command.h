// The command table: the only source of truth about commands, and what a handler is given. Routing,
// COMMAND and its subcommands, access control and key extraction all read the table.
//
// A handler is ordinary single-threaded code. It runs on the core that owns the keys, or on one
// that borrowed them; it touches keys through `r->store`, answers through `r->out`, and reaches
// everything else through `r->services`. It never blocks.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/arg.h"
#include "dataplane/commands/services.h"
#include "dataplane/resp/reply.h"
#include "dataplane/resp/view.h"
#include "dataplane/store/store.h"

struct request;
struct gather;
struct command;
struct access_user;

enum command_flags { // the names are those of COMMAND INFO
    CMD_WRITE = 1u << 0,
    CMD_READONLY = 1u << 1,
    CMD_DENYOOM = 1u << 2,
    CMD_ADMIN = 1u << 3,
    CMD_PUBSUB = 1u << 4,
    CMD_NOSCRIPT = 1u << 5,
    CMD_BLOCKING = 1u << 6,
    CMD_LOADING = 1u << 7,
    CMD_STALE = 1u << 8,
    CMD_SKIP_MONITOR = 1u << 9,
    CMD_SKIP_SLOWLOG = 1u << 10,
    CMD_ASKING = 1u << 11,
    CMD_FAST = 1u << 12,
    CMD_NO_AUTH = 1u << 13,
    CMD_MAY_REPLICATE = 1u << 14,
    CMD_NO_MANDATORY_KEYS = 1u << 15,
    CMD_PROTECTED = 1u << 16,
    CMD_NO_ASYNC_LOADING = 1u << 17,
    CMD_NO_MULTI = 1u << 18,
    CMD_MOVABLE_KEYS = 1u << 19,
    CMD_ALLOW_BUSY = 1u << 20,
};

// ACL categories, by bit, in the order of `ACL CAT`.
enum command_category {
    CAT_KEYSPACE = 1u << 0,
    CAT_READ = 1u << 1,
    CAT_WRITE = 1u << 2,
    CAT_SET = 1u << 3,
    CAT_SORTEDSET = 1u << 4,
    CAT_LIST = 1u << 5,
    CAT_HASH = 1u << 6,
    CAT_STRING = 1u << 7,
    CAT_BITMAP = 1u << 8,
    CAT_HYPERLOGLOG = 1u << 9,
    CAT_GEO = 1u << 10,
    CAT_STREAM = 1u << 11,
    CAT_PUBSUB = 1u << 12,
    CAT_ADMIN = 1u << 13,
    CAT_FAST = 1u << 14,
    CAT_SLOW = 1u << 15,
    CAT_BLOCKING = 1u << 16,
    CAT_DANGEROUS = 1u << 17,
    CAT_CONNECTION = 1u << 18,
    CAT_TRANSACTION = 1u << 19,
    CAT_SCRIPTING = 1u << 20,
};

// Where a command runs.
enum command_route { // the first three are the quick ones of core/execute.c
    ROUTE_KEYS,      // where its keys are: forwarded, or the slots are borrowed (no keys: at home)
    ROUTE_HOME,      // on the core of its connection: connection state, nothing of other cores
    ROUTE_SCRIPT,    // on the core of its connection, with the slots that its script needs
    ROUTE_GATHER,    // `part` on every core, then `handler` at home with the parts
    ROUTE_ALL,       // at home, with all slots of all cores borrowed (FLUSHALL, SWAPDB …)
    ROUTE_HELD,      // at home, with its client and the slots of its keys in hand (WATCH)
    ROUTE_SERVICE,   // on the service thread: waits for a disk, touches no keys (CONFIG REWRITE)
    // At home, with its keys' slots borrowed for as long as it takes: waits for another server
    // (MIGRATE).
    ROUTE_BORROW,
};

// Redis 7 key specifications.
enum keyspec_flags {
    KS_RO = 1u << 0,
    KS_RW = 1u << 1,
    KS_OW = 1u << 2,
    KS_RM = 1u << 3,
    KS_ACCESS = 1u << 4,
    KS_UPDATE = 1u << 5,
    KS_INSERT = 1u << 6,
    KS_DELETE = 1u << 7,
    KS_NOT_KEY = 1u << 8,
    KS_INCOMPLETE = 1u << 9,
    KS_VARIABLE_FLAGS = 1u << 10,
};

struct keyspec {
    const char *notes;
    uint32_t flags;
    enum { BEGIN_INDEX, BEGIN_KEYWORD, BEGIN_UNKNOWN } begin;
    int begin_index; // BEGIN_INDEX: position; BEGIN_KEYWORD: where the search starts
    const char *begin_keyword;
    enum { FIND_RANGE, FIND_KEYNUM, FIND_UNKNOWN } find;
    int last_key, key_step, limit; // FIND_RANGE
    int keynum_index, first_key;   // FIND_KEYNUM (key_step too)
};

// Documentation, in our own words. Argument kinds as COMMAND DOCS names them.
enum doc_arg_type {
    DOC_STRING,
    DOC_INTEGER,
    DOC_DOUBLE,
    DOC_KEY,
    DOC_PATTERN,
    DOC_UNIX_TIME,
    DOC_PURE_TOKEN,
    DOC_ONEOF,
    DOC_BLOCK,
};
enum doc_arg_flags { DOC_OPTIONAL = 1u << 0, DOC_MULTIPLE = 1u << 1, DOC_MULTIPLE_TOKEN = 1u << 2 };
struct doc_arg {
    const char *name;
    enum doc_arg_type type;
    uint32_t flags;
    const char *token, *since, *deprecated_since;
    int key_spec;               // DOC_KEY: index of the key specification
    const struct doc_arg *args; // DOC_ONEOF, DOC_BLOCK; ends with name NULL
};
struct command_doc {
    const char *summary, *since, *group, *complexity;
    const char *deprecated_since, *replaced_by;
    const char *const *history; // pairs version, text; ends with NULL
    const struct doc_arg *args; // ends with name NULL
    bool syscmd;                // for developers of the server, not for its users
};

struct command {
    const char *name; // lower case; a subcommand's own name ("get" of "config|get")
    int arity;        // as in COMMAND INFO: negative is "at least"
    uint32_t flags, categories;
    enum command_route route;
    const struct keyspec *keys; // n_keys of them
    unsigned n_keys;
    const struct command *subcommands; // ends with name NULL
    void (*handler)(struct request *r);
    // ROUTE_GATHER: runs on every core (home included) with r->out a part of its own; `start` runs
    // at home first and returns false when it has already answered (bad arguments).
    bool (*start)(struct request *r);
    void (*part)(struct request *r);
    // ROUTE_GATHER: bits of the cores that have a part to do; home has one anyhow. Where it is home
    // alone, or none, nothing travels. It touches no keys then. NULL: all cores.
    uint64_t (*asks)(struct core *core, const struct services *services, const struct arg *argv,
                     int argc);
    // ROUTE_GATHER: `waits` tells of arguments that wait for a disk. Then `prepare` runs first, on
    // the service thread: it reads what `start` will look for. Within a transaction it does not.
    bool (*waits)(const struct arg *argv, int argc);
    void (*prepare)(struct request *r);
    bool part_keys; // `part` looks at keys
    // ROUTE_GATHER: the one core whose part does anything (home has one anyhow); false: all do.
    bool (*part_core)(const struct keyspace *ks, const struct arg *argv, int argc, unsigned *core);
    // ROUTE_GATHER: the handler takes back what parts did when the client has gone meanwhile: then
    // it runs, too, and r->client is NULL.
    bool takes_back;
    // All parts are of one moment: the slots of all cores are held until the last one is done.
    bool part_together;
    // ROUTE_KEYS: true when these arguments make it touch keys that they do not name (SORT … GET),
    // so that it needs all slots of all cores, as ROUTE_ALL. NULL: never.
    bool (*needs_all)(const struct arg *argv, int argc);
    // Where key specifications cannot say where the keys are: their positions as commands_keys
    // gives them. NULL: they can.
    int (*find_keys)(const struct arg *argv, int argc, int *positions, int max);
    const struct command_doc *doc;
    const char *const *tips; // ends with NULL
    // Filled in by commands_init: where the only key is whatever the number of arguments; 0: it
    // depends.
    uint16_t sole_key;
    // Up to so many arguments it takes no longer than a few look-ups, so that it may be timed
    // together with others of its kind (core/slowlog.h). 0: never.
    uint16_t together;
    uint16_t id; // dense, 0 … commands_count()-1, subcommands included: index of statistics
    const struct command *parent; // of a subcommand
};

// What the session of a client is to a handler: a copy of it travels with a forwarded command, so a
// handler that changes it must be ROUTE_HOME.
struct session {
    uint64_t client_id;
    union {
        struct {
            CLIENT_VIEW;
        };
        struct client_view view;
    };
    // Who it is, where that limits what it may do (permission.h); NULL: everything. The session of
    // a message holds a reference, any other one is valid as long as its client's.
    const struct access_user *user;
};

// Thresholds between encodings: the directives of the same names.
struct value_limits {
    uint64_t hash_max_listpack_entries, hash_max_listpack_value;
    uint64_t set_max_intset_entries, set_max_listpack_entries, set_max_listpack_value;
    uint64_t zset_max_listpack_entries, zset_max_listpack_value;
    uint64_t hll_sparse_max_bytes;
    uint64_t stream_node_max_bytes, stream_node_max_entries;
    uint64_t bulk_max;          // proto-max-bulk-len
    int list_max_listpack_size; // elements, or -1 … -5: 4 … 64 KiB
    unsigned list_compress_depth;
    bool rdb_compression;
};

struct effects;

struct request {
    struct session *session;
    struct client *client;         // the connection (dataplane/resp/client.h); NULL away from home
    const struct command *command; // the subcommand where there is one
    int argc;
    struct arg *argv;
    struct key key; // of the first key argument, for commands of ROUTE_KEYS that have one
    struct out *out;
    struct store *store;
    const struct services *services;
    struct core *core; // handed to services
    uint64_t now_ms;   // wall clock of this turn
    uint64_t now_us;   // monotonic clock of this turn
    // ROUTE_GATHER, in `handler`: what each core wrote, as bytes (outbuf pieces made contiguous).
    const struct gathered {
        const uint8_t *ptr;
        size_t len;
    } * parts;
    unsigned n_parts;
    unsigned core_index; // of the core that executes
    const struct value_limits *limits;
    struct effects *effects; // NULL: nobody reads what writes did (effects.h)
    void *stepped;           // it goes on in steps: of the core
    void *migration;         // ROUTE_BORROW: what goes on after the handler; of the core
    // Somebody wants to know of changes: a blocked client, a watcher, a subscriber
    // (request_changed).
    bool observed;
    bool may_step;    // a long reply may be written over several turns (steps.h)
    bool may_work;    // what comes before the reply may be done over several turns
    bool may_migrate; // migrate.h
    // Blocking commands (blocking.h).
    bool may_block;        // else it answers as if its time were over
    bool of_script;        // a script calls it
    bool woken;            // runs again because `woken_key` changed
    bool blocked;          // request_block was called: there is no reply yet
    bool replied_error;    // set by the helpers below, for statistics
    int woken_key;         // index of that argument; 0: look at all keys
    char error_prefix[20]; // first word of that error
};

// Classes of events, bits as in notify-keyspace-events.
enum event_class {
    EVENT_NONE = 0,          // of no class: a change that only watchers of the key hear of
    EVENT_GENERIC = 1u << 0, // g
    EVENT_STRING = 1u << 1,  // $
    EVENT_LIST = 1u << 2,    // l
    EVENT_SET = 1u << 3,     // s
    EVENT_HASH = 1u << 4,    // h
    EVENT_ZSET = 1u << 5,    // z
    EVENT_EXPIRED = 1u << 6, // x
    EVENT_EVICTED = 1u << 7, // e
    EVENT_STREAM = 1u << 8,  // t
    EVENT_NEW = 1u << 9,     // n
    EVENT_MODULE = 1u << 10, // d: modules would
    EVENT_MISS = 1u << 11,   // m
    // With one of the others: what happened counts as no change to those who watch the key.
    EVENT_ASIDE = 1u << 30,
};

// A handler calls this once for each key that it changed, after the change, with the name that
// Redis gives the event ("lpush", "del" …). Blocked clients are served by it, watchers and
// subscribers will be. Costs a look at a flag when nobody listens.
static inline void request_changed(struct request *r, const struct key *key, enum event_class class,
                                   const char *event)
{
    if (__builtin_expect(r->observed, 0))
        r->services->key_changed(r, r->session->db, key, class, event);
}
// The same for a key of another database (MOVE, COPY … DB).
static inline void request_changed_in(struct request *r, unsigned db, const struct key *key,
                                      enum event_class class, const char *event)
{
    if (__builtin_expect(r->observed, 0))
        r->services->key_changed(r, db, key, class, event);
}

// --- the table (table.c) -----------------------------------------------------------------------

void commands_init(void); // builds the look-up; once, before the cores start
// Another name for a command, any letter case; "": it cannot be called. After commands_init and
// before the cores start. NULL, or what is wrong. Rules of users, figures and COMMAND know a
// command by its own name still.
const char *commands_rename(const char *from, const char *to);
bool commands_callable(const struct command *c); // it was not taken away by that
unsigned commands_count(void);                   // subcommands included: bound of `id`
const struct command *commands_by_id(unsigned id);
const struct command *const *commands_all(unsigned *n); // top level, in order of name;
                                                        // those that can be called
// The command or subcommand that the arguments name (any letter case); NULL: unknown.
const struct command *commands_find(const struct arg *argv, int argc);
// The same, with what was found last: most commands are named like the one before, letter case
// included. `memo` begins as zeros.
struct command_memo {
    uint64_t head, tail;
    size_t len;
    const struct command *command;
};
const struct command *commands_find_again(struct command_memo *memo, const struct arg *argv,
                                          int argc);
// Same by text: "config|get", "get".
const struct command *commands_find_name(const char *name, size_t len);
// The error text for arguments that commands_find does not know, as Redis words it.
void commands_reply_unknown(struct out *o, const struct arg *argv, int argc);
static inline bool command_fits(const struct command *c, int argc)
{
    return c->arity > 0 ? argc == c->arity : argc >= -c->arity;
}
// What Redis says where it does not fit.
void commands_arity_error(const struct command *c, char *text, size_t size);
// Positions of all keys among the arguments, by key specification. Returns their number, at most
// `max` are stored; -1 when the arguments make no sense to the specification.
int commands_keys(const struct command *c, const struct arg *argv, int argc, int *positions,
                  int max);
// The same with what the command does to each: flags of its specification, made definite where they
// depend on the arguments (SET … GET, BITFIELD).
struct key_use {
    int at;
    uint32_t flags; // enum keyspec_flags
};
int commands_key_uses(const struct command *c, const struct arg *argv, int argc,
                      struct key_use *uses, int max);
// Fast form for the common case: the command has one key specification that is a range; the
// position of its only key, 0 when it has none, -1 when it may have several.
int commands_single_key_long(const struct command *c, int argc);
static inline int commands_single_key(const struct command *c, int argc)
{
    if (__builtin_expect(c->sole_key && c->sole_key < argc, 1))
        return c->sole_key;
    return commands_single_key_long(c, argc);
}
// The same where the arguments may tell: of keys that are counted, one counts as the only one.
int commands_counted_key(const struct command *c, const struct arg *argv, int argc)
    __attribute__((cold));
static inline int commands_only_key(const struct command *c, const struct arg *argv, int argc)
{
    int at = commands_single_key(c, argc);
    return __builtin_expect(at >= 0, 1) ? at : commands_counted_key(c, argv, argc);
}

// --- helpers for handlers (helpers.c) ----------------------------------------------------------

// The key of argument i; r->key when i is the first key's position.
struct key request_key(struct request *r, int i);
void request_error(struct request *r, const char *text); // "ERR syntax error" …; counts the error
void request_errorf(struct request *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool request_is(const struct request *r, int i,
                const char *word); // argument i equals word, any case
// Parse an argument, or answer with Redis's error and return false.
bool request_integer(struct request *r, int i,
                     int64_t *value); // ERR value is not an integer or out of range
// What HRANDFIELD, ZRANDMEMBER and SRANDMEMBER count: argument 2, whose sign can be turned round.
bool request_draw_count(struct request *r, int64_t *count);
// The same, and `word` as argument 3 (`*paired`: it is there), which makes two elements of each.
bool request_draw_pairs(struct request *r, const char *word, int64_t *count, bool *paired);
// Uniform below n, n > 0.
uint64_t request_random_below(struct request *r, uint64_t n);
// As request_integer, with another error.
bool request_float_or(struct request *r, int i, long double *value, const char *error);
#define ERR_SYNTAX "ERR syntax error"
#define ERR_WRONGTYPE "WRONGTYPE Operation against a key holding the wrong kind of value"
#define ERR_NOT_INTEGER "ERR value is not an integer or out of range"
#define ERR_NO_KEY "ERR no such key"
#define ERR_OOM "OOM command not allowed when used memory > 'maxmemory'."
#define ERR_BUSY_SCRIPT \
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
#define ERR_BUSY_FUNCTION \
    "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
#define ERR_OUT_OF_RANGE "ERR index is out of range"
