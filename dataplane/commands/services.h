// What commands need from rooms above them: configuration, other clients, figures of all cores, the
// process. Declared here, filled in by dataplane/core. Every function is called on the polling core
// that executes the command, and returns at once.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/access/access.h"

struct endpoint;
struct command;
struct core;
struct client;
struct out;
struct key;
struct request;
struct arg;
struct migrate;
struct histogram;
struct latency_series;
struct slow_entry;
struct slow_summary;
struct session;
struct channel_table;
struct subscriber;

// Figures of one core, summed over cores by INFO (each core writes one in the `part` of the
// gather).
struct core_figures {
    uint64_t commands, connections_received, connections_rejected, clients, blocked_clients,
        timeout_clients;
    uint64_t net_in_bytes, net_out_bytes, error_replies;
    uint64_t hits, misses, expired, evicted, dirty;
    uint64_t query_buffer_bytes, output_bytes, output_limit_disconnections,
        query_limit_disconnections;
    uint64_t busy_cycles, idle_cycles, turns;
    uint64_t forwarded_commands, borrows, gathers;
    uint64_t cpu_sys_us, cpu_user_us;
    uint64_t max_input_buffer, max_output_buffer; // of the last seconds
    uint64_t evicted_clients;                     // maxmemory-clients
    uint64_t client_bytes;                        // all that connections hold
    uint64_t acl_denied_auth, acl_denied_command, acl_denied_key, acl_denied_channel;
    // Of each core its share: sums may pass through what looks like large numbers.
    uint64_t tracking_clients, tracking_keys, tracking_items, tracking_prefixes;
    uint64_t reads, writes; // of connections that had something to read, or to write
    uint64_t background_us, background_cut; // work of the store, and turns that left some of it
    uint64_t exceeded_us, exceeded_now_us;  // above maxmemory, and since when it is now
    uint64_t lua_bytes, lua_growth_bytes;   // and of these, since the start
    uint64_t beside_bytes;                  // all that it holds beside its keys,
    uint64_t startup_bytes;                 // and what that was at the start
};

// Per command: COMMANDSTATS.
struct command_figures {
    uint64_t calls, usec, rejected, failed;
};

// What a client has open: CLIENT LIST.
struct client_transaction {
    int queued; // commands; -1: none is open
    uint64_t bytes;
    unsigned watched; // keys
    bool changed;     // one of them
};

// Of scripts: what all cores share, and what is this core's own.
struct script_figures {
    uint64_t scripts, text_bytes; // kept, of all cores
    uint64_t lua_bytes;           // of this core's Lua
    bool running;                 // a script is under way here,
    uint64_t running_us;          // for so long
};

// Client-side caching, as one client has it set.
enum tracking_flags {
    TRACKING_ON = 1u << 0,
    TRACKING_BCAST = 1u << 1,
    TRACKING_OPTIN = 1u << 2,
    TRACKING_OPTOUT = 1u << 3,
    TRACKING_NOLOOP = 1u << 4,
    TRACKING_CACHING = 1u << 5, // CLIENT CACHING was given
    TRACKING_BROKEN = 1u << 6,  // the client to redirect to was not there
};
struct client_tracking {
    unsigned flags;
    uint64_t redirect; // to that client; 0: to itself
};

struct server_figures {
    const char *version;       // Pollux's own
    const char *redis_version; // what we answer as: "7.0.15"
    const char *executable, *config_file, *transport, *run_id;
    uint64_t start_ms; // wall clock
    unsigned cores;
    int pid, port, control_plane_pid; // 0: none attached
    uint64_t memory_resident, memory_total_system;
    uint64_t lru_clock;
    uint64_t cycles_per_us;
    uint64_t scripts, script_bytes;
    uint64_t functions, libraries, function_bytes;
};

enum crash_kind { CRASH_SEGFAULT, CRASH_PANIC, CRASH_ASSERT };

enum config_access {
    CONFIG_ACCESS_UNKNOWN,
    CONFIG_ACCESS_IMMUTABLE, // at start only
    CONFIG_ACCESS_PROTECTED, // where "enable-protected-configs" allows it
    CONFIG_ACCESS_FREE,
};

// What came of asking a core to end the script that it runs, in rising order of what is answered.
enum script_killed {
    SCRIPT_KILLED_NONE,        // none runs
    SCRIPT_KILLED_IS_FUNCTION, // it is a function, and was to be a script
    SCRIPT_KILLED_IS_SCRIPT,   // the other way round
    SCRIPT_KILLED_NOT,         // it has written
    SCRIPT_KILLED_OK,
};

// A library of functions, as it is shown (FUNCTION LIST, DUMP).
struct function_facts {
    const char *name, *description; // description NULL: none
    size_t name_len, description_len;
    uint32_t flags; // bits in the order of FUNCTION_FLAG_NAMES
};
#define FUNCTION_FLAG_NAMES \
    "no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys"
struct function_shown {
    const char *name, *code;
    size_t name_len, code_len;
    unsigned n_functions;
    struct function_facts (*function)(const struct function_shown *library, unsigned i);
    const void *library; // for `function`
};
// FUNCTION RESTORE of libraries that there are.
enum function_policy { FUNCTION_APPEND, FUNCTION_REPLACE, FUNCTION_FLUSH };
#define FUNCTION_ERROR_MAX 1024 // room for an error, which is told without "ERR "

// An address as text: the path of a UNIX socket, or what endpoint_format writes.
#define CLIENT_ADDRESS_MAX 128

typedef void config_each_fn(void *context, const char *name, const char *value);

struct services {
    // --- configuration (config/): text in, text out
    void (*config_get)(struct core *core, const char *pattern, size_t len, config_each_fn *each,
                       void *context);
    // All or nothing. Takes effect on this core at once; the caller gathers over all cores (the
    // part calls config_adopt) before it answers. 0, or -1 with the text behind "ERR " in `error`.
    int (*config_set)(struct core *core, unsigned n, const char *const *names,
                      const char *const *values, const size_t *value_lens, char *error,
                      size_t size);
    void (*config_adopt)(struct core *core);
    // Reads the files that such a config_set will ask for. The one of these that runs on the
    // service thread.
    void (*config_prepare)(struct core *core, unsigned n, const char *const *names,
                           const char *const *values, const size_t *value_lens);
    int (*config_rewrite)(struct core *core, char *error, size_t size);
    void (*config_reset_stat)(struct core *core); // this core's counters

    // --- clients of this core
    // True when the password is right (compared in constant time): the client of `r` is that user
    // from now on. Otherwise it is logged.
    bool (*authenticate)(struct request *r, const struct arg *user, const struct arg *password);
    bool (*password_required)(struct core *core); // of the default user
    // The client is what a new connection would be.
    void (*client_default)(struct request *r);

    // --- users (dataplane/access), those of the process. A change is published and then adopted by
    // every core before it is answered: by the part of a gather.
    const struct access_users *(*access_users)(struct core *core);  // as this core has adopted them
    const struct access_users *(*access_newest)(struct core *core); // held
    // Puts `to` in the place of `from`, which the caller holds. False: others were faster, and `to`
    // is dropped.
    bool (*access_publish)(struct core *core, const struct access_users *from,
                           struct access_users *to);
    void (*access_adopt)(struct core *core);
    // The log, newest first.
    void (*access_log)(struct core *core, uint64_t max,
                       void (*each)(void *context, const struct access_entry *e), void *context);
    void (*access_log_reset)(struct core *core);
    bool (*access_all_channels)(struct core *core); // what acl-pubsub-default gives new users
    // `aclfile`: reads users from it, and has every core adopt them; writes them to it. On the
    // service thread. False: what is wrong is in `errors`.
    bool (*access_load)(struct core *core, struct out *errors);
    bool (*access_save)(struct core *core, struct out *errors);
    void (*each_client)(struct core *core, void (*each)(void *context, struct client *c),
                        void *context);
    // Closes after the replies written so far; of the calling client itself, after this reply.
    void (*client_kill)(struct core *core, struct client *c);
    // Ends the waiting of a blocked client as its time-out would, or with an error. False: it does
    // not wait.
    bool (*client_unblock)(struct core *core, struct client *c, bool error);
    uint64_t (*client_memory)(struct core *core, const struct client *c);
    // One end of a connection as clients are shown it; of a UNIX socket "<its path>:0". Returns
    // `text`, of CLIENT_ADDRESS_MAX bytes.
    const char *(*client_address)(struct core *core, const struct endpoint *e, char *text);
    // CLIENT PAUSE, for the whole server: until then commands of clients wait, `all` or those that
    // may write. A pause that lasts longer or holds up more stands. 0 ends it.
    void (*clients_pause)(struct core *core, uint64_t until_us, bool all);
    void (*clients_pause_adopt)(struct core *core); // each core does, before the answer

    // Through request_steps (steps.h).
    void *(*steps)(struct request *r, const struct key *key,
                   bool (*step)(struct request *r, void *state), size_t state_size);
    // Through request_work.
    void *(*work)(struct request *r, bool (*step)(struct request *r, void *state),
                  void (*drop)(void *state), size_t state_size);

    // --- changes and waiting
    // `class` is an enum event_class. Called through request_changed.
    void (*key_changed)(struct request *r, unsigned db, const struct key *key, unsigned class,
                        const char *event);
    // Through request_block and request_claim (blocking.h).
    void (*block)(struct request *r, int n_keys, const int *keys, uint64_t timeout_us,
                  unsigned timeout_reply);
    bool (*claim)(struct request *r);

    // --- channels (dataplane/pubsub/channels.h); `kind` is an enum channel_kind
    // r->client subscribes, or does so no more. False: memory is short; it was not subscribed.
    bool (*subscribe)(struct request *r, unsigned kind, const struct arg *name);
    bool (*unsubscribe)(struct request *r, unsigned kind, const struct arg *name);
    void (*unsubscribe_all)(struct request *r); // of any kind, as when it goes away
    // What a client is subscribed to; NULL: nothing.
    const struct subscriber *(*subscriber)(const struct client *c);
    const struct channel_table *(*channels)(struct core *core); // of this core's clients
    unsigned (*channel_subscribers)(struct core *core, unsigned kind, const struct arg *name);
    // Hands a message to this core's subscribers; how many they are.
    uint64_t (*publish)(struct core *core, unsigned kind, const struct arg *channel,
                        const struct arg *message);
    // Bits of the cores that have, or may have, subscribers of that channel or, with NULL, of any
    // of that kind.
    uint64_t (*publish_asks)(struct core *core, unsigned kind, const struct arg *channel);
    // Where something for r->client is written that is no reply to its commands: client_tell.
    struct out *(*tell)(struct request *r, void **slot);
    void (*told)(struct request *r, void *slot);

    // --- transactions of r->client
    bool (*transaction_begin)(struct request *r);   // false: one is open
    bool (*transaction_discard)(struct request *r); // false: none is open
    void (*transaction_forget)(struct request *r);  // what is open, and the watches
    // The key's slot is in hand. False: memory is short.
    bool (*watch)(struct request *r, const struct key *key);
    void (*unwatch)(struct request *r);
    // All slots are in hand, and database `db` (-1: every one) is about to be emptied, or to become
    // what `other` is (-1: nothing).
    void (*keys_replaced)(struct request *r, int db, int other);
    void (*client_transaction)(const struct client *c, struct client_transaction *t);

    // --- scripts (dataplane/script)
    // Runs the script that argument 1 is, or is the SHA1 of, and answers, now or later.
    void (*script_eval)(struct request *r, bool by_sha, bool read_only, int n_keys);
    // Keeps argument 2 as a script, for all cores, and answers with its SHA1.
    void (*script_load)(struct request *r);
    bool (*script_exists)(struct core *core, const struct arg *sha);
    void (*script_flush)(struct core *core); // of this core, and what all share
    enum script_killed (*script_kill)(struct core *core, bool function);
    // The error of a command while a script is busy; NULL: none is.
    const char *(*script_busy)(struct core *core);
    void (*script_figures)(struct core *core, struct script_figures *figures);
    // --- libraries of functions, those of the process
    // Calls the function that argument 1 names, and answers, now or later.
    void (*function_call)(struct request *r, bool read_only);
    // These are false, with `error`, when nothing was done. `name`: the library's is written there.
    bool (*function_load)(struct core *core, const struct arg *code, bool replace, struct out *name,
                          char *error);
    bool (*function_delete)(struct core *core, const struct arg *name, char *error);
    bool (*function_restore)(struct core *core, const struct arg *codes, unsigned n,
                             enum function_policy policy, char *error);
    void (*function_flush)(struct core *core);
    void (*function_each)(struct core *core,
                          void (*each)(void *context, const struct function_shown *library),
                          void *context);
    // Answers what FUNCTION STATS tells of the function that runs on this core; with nothing if
    // there is none.
    void (*function_running)(struct request *r);

    // --- client-side caching
    void (*client_tracking)(const struct client *c, struct client_tracking *t);
    // In order of their bytes.
    void (*each_prefix)(const struct client *c,
                        void (*each)(void *context, const void *text, size_t len), void *context);
    // Of r->client. All cores have counted the prefixes before (tracking_count); those that it has
    // already are counted back. `redirect_core` serves the client to redirect to. False: memory is
    // short, and nothing was done.
    bool (*tracking_begin)(struct request *r, const struct client_tracking *t,
                           unsigned redirect_core, unsigned n, const struct arg *prefixes);
    void (*tracking_end)(struct request *r);
    void (*tracking_caching)(struct request *r); // for the next command
    // The core of r's client has one more client for each prefix: to be heard on every core. False:
    // memory is short.
    bool (*tracking_count)(struct request *r, unsigned n, const struct arg *prefixes);
    // Takes back on all cores what tracking_count did there.
    void (*tracking_uncount)(struct request *r, unsigned n, const struct arg *prefixes);
    // Others redirect to this client of this core. False: memory is short.
    bool (*tracking_target)(struct request *r, struct client *c);

    // Hands a transfer to the core (migrate.h), which owns it when this returns true.
    bool (*migrate)(struct request *r, struct migrate *m);

    // --- figures
    void (*core_figures)(struct core *core, struct core_figures *figures); // of this core
    void (*command_figures)(struct core *core, unsigned command_id, struct command_figures *f);
    // Error counts by first word (INFO errorstats) of this core.
    void (*each_error)(struct core *core,
                       void (*each)(void *context, const char *prefix, uint64_t count),
                       void *context);
    void (*server_figures)(struct core *core, struct server_figures *figures);
    // The highest `used_memory` so far, `used` included. Cores look ten times a second, with what
    // connections held within the last second.
    uint64_t (*memory_peak)(struct core *core, uint64_t used);
    void (*core_rates)(struct core *core, double *ops, double *in_kbps, double *out_kbps);

    // --- watching (observe.h), of this core
    bool (*monitor_begin)(struct core *core, struct client *c); // false: memory is short
    void (*monitor_end)(struct core *core, struct client *c);
    void (*monitors_look)(struct core *core);
    void (*slowlog_summary)(struct core *core, struct slow_summary *s);
    // The newest `n` entries, newest first, each with its bytes.
    void (*slowlog_each)(struct core *core, uint64_t n,
                         void (*each)(void *context, const struct slow_entry *e,
                                      const uint8_t *bytes),
                         void *context);
    void (*slowlog_reset)(struct core *core);
    // NULL: none was seen.
    const struct latency_series *(*latency_series)(struct core *core, unsigned event);
    bool (*latency_reset)(struct core *core, unsigned event); // false: there was none
    // Of the cycles that a command's calls took; NULL: it has not run, or was not tracked.
    const struct histogram *(*command_histogram)(struct core *core, unsigned command_id);

    // --- the process
    // Freezes this core for so long, heartbeat included (DEBUG SLEEP's part).
    void (*freeze)(struct core *core, uint64_t microseconds);
    uint64_t (*random)(struct core *core);
    // Does not return (DEBUG SEGFAULT, PANIC, ASSERT).
    void (*crash)(struct core *core, enum crash_kind kind);
    // Starts an orderly end of the server, and logs who asked. Returns false when one is under way.
    bool (*shutdown)(struct request *r);
    // May this command (DEBUG, CONFIG SET of protected options) be used from this connection?
    // option: "enable-debug-command", "enable-protected-configs", "enable-module-command".
    bool (*protected_allowed)(struct core *core, const char *option, struct client *c);
    // May the value of this option be shown to those who watch?
    bool (*config_secret)(struct core *core, const char *name, size_t len);
    // May CONFIG SET change this option (any letter case)? `canonical` is its name in the table, so
    // that two names of one option can be told; untouched when it is unknown.
    enum config_access (*config_access)(struct core *core, const char *name,
                                        const char **canonical);
};
