// The polling core and the process around it. A `struct core` is used by its own thread alone; the
// fields that other threads touch stand together, each with a word on who and how.
//
// What is where: ARCHITECTURE.md, dataplane/core, has a line for each file.
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/log.h"
#include "common/plane.h"
#include "config/config.h"
#include "dataplane/commands/command.h"
#include "dataplane/net/net.h"
#include "dataplane/resp/client.h"
#include "dataplane/store/store.h"
#include "drivers/io.h"
#include "drivers/nic.h"
#include "drivers/sockets.h"
#include "drivers/tls.h"

struct blocked;
struct core;
struct effects;
struct publisher;
struct subscribed_cores;
struct told;
struct tracked_slot;
struct tracking;
struct histogram;
struct latency_series;
struct message;
struct queued;
struct scripts;
struct script_functions;
struct script_texts;
struct server;
struct loan;
struct server_access;
struct stepped;
struct capture;
struct migration;
struct rte_ring;

// Frames taken from the port, and streams looked at, in one turn.
#define TURN_FRAMES 32
#define TURN_STREAMS 256
// Commands of one batch, of one connection in a batch, and of one turn: bounds of the work of a
// turn.
#define BATCH_COMMANDS 256
#define BATCH_SHARE 64
#define BATCH_ARGS 2048
#define TURN_COMMANDS 1024
// Messages of one pair of cores under way (credits), and the room of a ring: requests and replies
// of both directions, loans and their returns never fill it.
#define MAILBOX_CREDITS 1024
#define MAILBOX_SLOTS 8192
// Commands of one connection whose replies are under way.
#define CLIENT_REPLIES_MAX 1024
// Error prefixes counted apart (INFO errorstats); more are counted together.
#define ERROR_PREFIXES 128

// The configuration as a core reads it, refreshed when it changes.
struct settings {
    uint64_t maxclients;
    uint64_t timeout_us; // 0: never
    unsigned tcp_keepalive_s;
    size_t bulk_max, query_max;
    struct config_output_limit output_limit, pubsub_limit; // classes normal, pubsub
    struct config_output_limit monitor_limit;              // of clients in MONITOR
    unsigned notify;        // events of keys that are told of, and where (publish.h); 0: none
    uint64_t tracked_max;   // tracking-table-max-keys; 0: no limit
    uint64_t clients_max;   // maxmemory-clients in bytes, 0: no limit
    uint64_t collected_max; // bytes of all replies that are being written over several turns
    bool protected_mode;
    bool all_channels; // acl-pubsub-default
    bool spin;         // idle-policy
    uint64_t maxmemory;
    uint64_t busy_reply_us; // busy-reply-threshold, 0: never
    struct store_options store;
    struct value_limits limits;
};

// Failures of TLS that are not logged one by one.
struct tls_quiet {
    uint64_t until_us, untold;
};

// Who reads a reply.
enum reader {
    READER_THERE,
    READER_LEAVING, // sends no more, and may be gone
    READER_GONE,    // never wanted the reply
    READER_LOST,    // the connection is closed: what has not begun need not
};

// A reply of a connection that waits for an earlier one, or is not there yet.
struct reply_slot {
    struct reply_slot *next;
    struct client *client; // NULL once the connection is gone
    struct outbuf out;
    bool done;
    bool discard;               // CLIENT REPLY OFF / SKIP
    _Atomic enum reader reader; // a core that still writes the reply may look at it
};

// One command in the batch.
struct work {
    struct client *client;
    const struct command *command; // NULL: unknown
    struct arg *argv;
    int argc;
    bool has_key;  // `key` is that of the only key
    bool ours;     // its slot is this core's, and not lent
    bool own_argv; // an array of its own
    bool own_args; // or some arguments are blocks: to be given back
    struct key key;
    struct fetch fetch;
    bool chain; // what its entry points to is worth fetching, too
};

struct core_counters {
    uint64_t commands, errors, connections_received, connections_rejected;
    uint64_t bytes_in, bytes_out;
    uint64_t frames_passed, capture_frames, capture_dropped;
    uint64_t forwarded, borrows, gathers, starved;
    uint64_t output_limit_disconnections, query_limit_disconnections;
    uint64_t busy_cycles, idle_cycles, turns, sleeps, wakes;
    uint64_t stage_cycles[PLANE_STAGES];
    uint64_t denied_auth, denied_command, denied_key, denied_channel;
    uint64_t reads, writes;
    uint64_t background_cycles, background_cut; // of the store; turns that left some of it
    uint64_t exceeded_us;                       // above maxmemory, up to the last time below
    uint64_t evicted_clients;
};

// CLIENT PAUSE, and whose commands it holds up (attend.c).
struct pause {
    uint64_t until_us;
    bool all; // else only what may write
    struct client *first, *last;
    unsigned postponed;
};

// Clients by what they hold, in powers of two (client_memory.c).
#define CLIENT_WEIGHTS 20
struct client_weights {
    struct client *first[CLIENT_WEIGHTS]; // from 1 on; 0 stands for those that are in no list
    uint64_t bytes;                       // of all
    uint64_t second, input[8], output[8]; // the greatest of each of the last seconds
    uint64_t shrunk, shrunk_before;       // bytes freed by those that fell silent
};

struct error_count {
    char prefix[32];
    uint64_t count;
};

struct monitor_line;
// MONITOR (monitor.h).
struct monitors {
    struct client **client; // of this core
    unsigned n, room;
    // Lines of other cores, of one look at the mailboxes, in the order of time.
    struct monitor_line *first, *last;
};

struct slow;
// SLOWLOG (slowlog.h).
struct slowlog {
    struct slow *newest, *oldest;
    uint64_t n;
    uint64_t bytes;            // of memory, of all entries
    uint64_t threshold_cycles; // UINT64_MAX: none
};

// Why no command takes the quick way (core->closely).
enum closely {
    CLOSELY_MONITORED = 1u << 0, // MONITOR, on any core
    CLOSELY_EFFECTS = 1u << 1,   // `effects` is set
    CLOSELY_TIMED = 1u << 2,     // each is timed by itself: slowlog-log-slower-than is low
};

struct core_clock {
    uint64_t first_us, first_cycles;   // when it started
    uint64_t anchor_us, anchor_cycles; // the last look at the kernel's clocks
    uint64_t wall_us;                  // of Unix time, at the anchor
    uint64_t us_per_cycle_32; // microseconds a cycle, 32 bits of fraction; 0: not known yet
    bool invariant;
};

struct core {
    // --- hot: every turn
    unsigned index;
    struct server *server;
    uint64_t now_us; // monotonic, of this turn
    uint64_t now_ms; // wall clock, of this turn
    struct core_clock clock;
    uint64_t command_mark; // cycle counter at the end of the last command that was timed
    // Commands of one kind in a row are timed together: reading the cycle counter takes a tenth of
    // a GET.
    struct command_figures *timed;
    unsigned timed_together;
    // What execute_quick hands to handlers; what never changes in it is set once.
    struct request quick;
    struct session quick_session;
    uint64_t cycle_mark; // cycle counter at the last stage's end
    struct store *store;
    struct port *port; // NULL with sockets, or where there are fewer queues than cores
    struct net *net;
    struct capture *capture; // frames are copied (capture.h); NULL: they are not
    struct message *passed;  // frames of other cores, until the end of the turn
    struct io *io;
    struct sockets *sockets;         // with transport dpdk: for the UNIX socket, or NULL
    struct tls *tls;                 // NULL: no connection speaks it
    struct tls_context *tls_context; // of connections that begin
    struct tls_quiet tls_quiet[TLS_FAILURES + 1]; // the last: TLS on another port
    struct frame *frames[TURN_FRAMES];            // received this turn
    unsigned n_frames;
    bool sending; // frames left, and more may follow at once
    bool
        port_full; // frames wait, and the port took none: it is asked again, after a nap if need be
    struct client *queue_first, *queue_last; // clients with something to parse
    struct client *push_first;               // clients whose streams have output
    struct client *clients;                  // all
    struct client *gone;                     // to be freed at the end of the turn
    struct outbuf sink;                      // replies that the client does not want
    unsigned n_clients;
    struct settings settings;
    struct services services;
    const struct config *config; // the snapshot that `settings` was read from
    struct core_counters counters;

    // --- the batch
    unsigned n_work, n_args;
    struct command_memo memo;
    bool chains; // of some command in it
    struct work work[BATCH_COMMANDS];
    struct arg args[BATCH_ARGS];

    // --- mailboxes: ring[i] carries messages from this core to core i
    struct rte_ring *ring[PLANE_CORES_MAX];
    unsigned credits[PLANE_CORES_MAX];
    unsigned together; // loans and gathers of this core under way, at most MAILBOX_CREDITS
    bool posted[PLANE_CORES_MAX]; // something was sent this turn: look whether it sleeps
    // Clients whose next command found no credit, or is not to run within another's (next_starved).
    struct client *starved, *last_starved;
    bool starved_later; // one of the latter kind: no sleep before its turn

    // --- loans: slots of this core that another executes on, and what waits for them
    uint64_t held[SLOTS / 64]; // lent, or something waits for it
    uint64_t lent[SLOTS / 64];
    unsigned loans;
    struct message *waiting_first, *waiting_last;
    bool waiting_runs, waiting_again;

    // --- commands that wait for a key, and who hears of changes
    struct blocked *blocked;
    unsigned watched_keys; // of its slots, as far as it has counted (watch.h)
    unsigned tracked_keys; // the same of keys that clients may hold (tracking.h)
    bool lender_observed;  // somebody watches keys of a core whose slots are in hand
    bool observed;        // somebody waits for a key of this core, watches one, or hears of changes
    uint8_t tracking_due; // enum tracking_due: what clients must still be told
    struct tracking *tracking;           // who of its clients holds keys (tracking.h)
    struct publisher *publisher;         // who of its clients is subscribed to what (publish.h)
    struct told *told_first, *told_last; // what handlers under way made it tell (client_tell)
    // What commands have to pass before they run, or who else is told of them: enum attention,
    // 0 nearly always. The one word that the way of every command looks at (attend.c).
    uint32_t attention;
    struct pause pause;
    struct client_weights weights;
    const struct access_users *users; // in force here (access.h)
    bool nopass;                      // the default user needs no password,
    bool open;                        // and is enabled: who has not said who it is may be it
    unsigned executing;               // handlers under way, one within the other
    const struct request *running;    // the innermost but for the lean way's (crash.c)
    uint64_t executing_for;           // the client of the last one that is not lean; 0: none
    struct effects *effects;          // where writes tell what they did; NULL: nowhere
    uint32_t closely;                 // enum closely
    uint64_t slow_cycles;             // of a command that somebody wants to hear of (slowlog.h)
    uint64_t exceeded_since_us;       // it is above maxmemory; 0: it is not
    uint64_t monitor_cores; // cores with clients in MONITOR, as bits, as this core knows it
    struct monitors monitors;
    struct slowlog slowlog;
    struct histogram **histograms; // by command id (latency.h); NULL: they are not tracked
    uint64_t event_cycles;         // of what the latency monitor wants to hear of
    struct histogram **histograms_kept;
    struct latency_series **series; // by event
    uint64_t explained_cycles;      // of this turn: pauses that have a more exact name
    uint64_t waited_ns;             // for a CPU, when last looked
    int schedstat;                  // descriptor
    // Messages about waiters that found a full ring, by core.
    struct message *backlog_first[PLANE_CORES_MAX], *backlog_last[PLANE_CORES_MAX];
    unsigned backlog;
    struct stepped *steps_first, *steps_last; // replies that are written over several turns
    uint64_t steps_bytes;                     // that they have written
    struct migration *migrations;             // keys on their way to other servers
    struct scripts *scripts;                  // Lua (script.h)

    // --- figures
    struct command_figures *command_figures; // by command id
    struct error_count error_counts[ERROR_PREFIXES];
    unsigned n_error_counts;
    // Memory beside its keys (memory.c): what never changes; all, and Lua's, when it had started.
    uint64_t fixed_bytes, startup_bytes, startup_lua_bytes;
    uint64_t users_bytes; // of the users in force; 0: to be counted
    uint64_t next_publish_us, next_cron_us;
    uint64_t second_start_us, second_commands, second_in, second_out;
    double ops, in_kbps, out_kbps;
    struct client *cron_client; // where the round over clients goes on
    uint64_t random[4];
    uint32_t idle_turns;
    struct answer *first_answer, *last_answer; // to the control plane, waiting for room
    size_t answers_bytes;
    bool stopping;
    bool listening;    // what follows is where
    uint16_t port_tls; // of the stack; 0: none
    uint16_t port_plain;

    // --- touched by others
    _Alignas(64) _Atomic uint32_t sleeping; // this core is about to sleep; others wake it
    _Atomic unsigned heaviest;   // list of its heaviest client (client_memory.c), 0: none
    _Atomic bool asked_to_evict; // another core has asked it to close some
    _Atomic bool unsettled; // a borrower has added to the keys that are watched, or taken some out
    _Atomic(const struct config *) adopted; // the snapshot it reads; others look before they free
    pthread_t thread;
    int cpu;           // -1: not pinned
    char *start_error; // what went wrong when it started, mimalloc
    _Atomic int state; // enum core_state
};

enum core_state { CORE_NEW, CORE_READY, CORE_FAILED, CORE_ENDED };

struct server {
    unsigned n_cores;
    struct core *cores[PLANE_CORES_MAX];
    struct keyspace *keyspace;
    struct nic *nic;
    bool dpdk;
    struct plane_segment *segment;
    struct service *_Atomic service; // NULL until the cores have started
    struct attach *attach;
    int wake_fd;                  // eventfd of the main thread
    int lock;                     // of the data plane's side of the segment
    struct net_config net_config; // of all cores but for the secrets of generators
    char addresses[256];          // for people
    uint8_t secret[16];
    char run_id[41];
    char run_directory[108];
    char executable[256];
    uint64_t start_ms;
    uint64_t cycles_per_us;
    unsigned port;
    _Atomic(struct config *) config;   // the snapshot in force; replaced under config_lock
    struct tls_prepared *tls_prepared; // under config_lock
    struct tls_context *tls_context;   // that belongs to it; under config_lock. NULL: no tls-port
    pthread_mutex_t config_lock;
    struct config *retired[16];   // replaced snapshots, freed when no core can still read them
    struct server_access *access; // users (access.h)
    struct script_texts *scripts; // of EVAL and SCRIPT LOAD
    struct script_functions *functions;
    _Atomic uint64_t next_client_id;
    _Atomic uint64_t clients;
    _Atomic uint64_t monitors;      // cores with clients in MONITOR, as bits
    _Atomic uint64_t next_slow_id;  // of the slow log
    _Atomic uint64_t memory_peak;   // bytes counted
    _Atomic uint64_t clients_bytes; // that all connections hold
    _Atomic uint64_t pause; // CLIENT PAUSE: microseconds of its end * 2 + all; 0: there is none
    struct watched_slot *watched[SLOTS]; // NULL: no key of it is watched
    struct tracked_slot *tracked[SLOTS]; // NULL: no key of it is held by clients (tracking.h)
    _Atomic uint64_t tracking_clients;
    atomic_flag tracking_limit;          // held by the core that keeps tracking-table-max-keys
    struct subscribed_cores *subscribed; // which cores have subscribers (publish.h)
    _Atomic bool stopping;
    // All cores have a store before any listens; all have stopped before any takes its transport
    // down.
    pthread_barrier_t begin, end;
    _Atomic unsigned drained;  // cores whose replies are out, once it stops
    _Atomic bool spread_wrong; // frames came to other queues than the port's own hash names
    unsigned started;          // threads
};

// --- core.c
struct core *core_create(struct server *server, unsigned index, int cpu);
void core_destroy(struct core *c);
void *core_main(void *core);
// Adds the cycles since the last mark to a stage.
void core_stage(struct core *c, enum plane_stage stage);
uint64_t core_random(struct core *c);

// --- clock.c
uint64_t core_clock_us(void); // the kernel's monotonic clock
uint64_t core_wall_ms(void);
void core_clock_start(struct core_clock *clock);
void core_clock_read(struct core_clock *clock, uint64_t *now_us, uint64_t *now_ms);

// --- transport.c
int transport_start(struct core *c, char *error, size_t size);
void transport_stop(struct core *c);
bool transport_receive(struct core *c); // true when something came
// Begins a connection; STREAM_CONNECTED or STREAM_CLOSED follows. NULL: -errno in `error`.
struct stream *transport_connect(struct core *c, const struct endpoint *to, int *error);
unsigned transport_ready(struct core *c, struct stream **streams, unsigned max);
void transport_flush(struct core *c); // frames that are ready leave; more of the turn follows
void transport_send(struct core *c);  // what the turn wrote leaves
// Sleeps at most so long, or until something happens.
void transport_wait(struct core *c, uint64_t timeout_us);
// How flows come to cores, for operators.
const char *transport_spread(const struct core *c);
// Says once when the port does otherwise than it told.
void transport_cron(struct core *c);
void transport_bytes(const struct core *c, uint64_t *in, uint64_t *out); // since the start
bool transport_can_wait(const struct core *c); // whether frames end the sleep
// Listens where `config` says, and nowhere else, at the start or anew. Nothing changes when it
// fails, with one line in `error`.
int transport_listen(struct core *c, const struct config *config, char *error, size_t size);
// The option that says where to listen in which two configurations differ; NULL: there is none.
const char *transport_moves(const struct config *a, const struct config *b);

// --- tls.c
// Whether a context is made of this option.
bool tls_option_is(const char *name);
// Reads the files that the configuration names. NULL with one line in `error`. Any thread.
struct tls_context *tls_configured(const struct config *config, char *error, size_t size);
// On the service thread: reads them for a change that will be asked for at once.
void tls_prepare(struct server *server, const struct config *changed);
// With config_lock held: what was prepared for this configuration, else what is read now.
struct tls_context *tls_prepared(struct server *server, const struct config *changed, char *error,
                                 size_t size);
void tls_prepared_drop(struct server *server);
bool tls_start(struct core *c);                                    // false: memory is short
void tls_take(struct core *c, struct stream *accepted);            // it came to the TLS port
void tls_misdirected(struct core *c, const struct client *client); // it spoke TLS to another

// --- clients.c
void client_event(struct core *c, struct stream *s);
struct client *client_internal(struct core *c);           // without a stream (control.c)
void client_queue(struct core *c, struct client *client); // to be parsed
void client_push(struct core *c, struct client *client);  // has output
void client_close(struct core *c, struct client *client); // after its output
// After each command that was taken: what CLIENT REPLY SKIP asked for moves on.
void client_reply_mode_next(struct client *client);
void client_abort(struct core *c, struct client *client, const char *why);
// `client_address` of services.
const char *client_address(struct core *c, const struct endpoint *e, char *text);
void clients_push(struct core *c);         // end of the turn: all that have output
void clients_bury(struct core *c);         // end of the turn: frees the closed
void clients_cron(struct core *c);         // time-outs, limits: a share of the clients
bool clients_unsent(const struct core *c); // some output has not left yet
void clients_end(struct core *c);
// Where the next reply of the client goes. `slot` gets the reply slot or NULL when it is the
// stream.
struct out *client_out(struct core *c, struct client *client, struct reply_slot **slot);
// The reply was written: `slot` as client_out gave it.
void client_replied(struct core *c, struct client *client, struct reply_slot *slot);
// A slot for a reply that comes later. NULL when memory is short.
struct reply_slot *client_expect(struct core *c, struct client *client);
// Its reply is complete: sends what is in order.
void client_complete(struct core *c, struct reply_slot *slot);

// The same within a command: what the client sent next runs later in the turn or in the next one.
void client_complete_later(struct core *c, struct reply_slot *slot);

// Something for the client that answers none of its commands: a message of a channel, word that a
// key changed. It comes behind the replies that the client is owed, but before that of a command
// that waits for a key; CLIENT REPLY does not hold it back. Between client_tell and client_told, to
// which `slot` goes as it was given, one whole reply is written. NULL: it is on its way out.
// What is told while a handler runs leaves when the command is done (or the transaction): its own
// reply may be half written.
struct out *client_tell(struct core *c, struct client *client, struct reply_slot **slot);
void client_told(struct core *c, struct client *client, struct reply_slot *slot);
// Of what it was told within a command that is under way.
size_t client_told_bytes(const struct client *client);
// Between commands: what they told goes on to the clients.
void clients_tell(struct core *c);
// Sends what there is, and holds it to the limits now: much of it may be from this turn.
void client_look_output(struct core *c, struct client *client);

// --- batch.c
// Answers the parser's error, after the replies that are due before it, and closes.
void protocol_error(struct core *c, struct client *client);
bool batch_run(struct core *c); // parses and executes one batch; true when there was one

// --- route.c
// There is one core, and no slot of it is lent or waited for. While what waited runs, slots that
// came back are held until it is known who is next.
static inline bool route_all_here(const struct core *c)
{
    return c->server->n_cores == 1 && !c->loans && !c->waiting_runs;
}
// Looks up the command that the arguments of `w` name, and its key where it has just one.
static inline void work_find(struct core *c, struct work *w)
{
    w->command = commands_find_again(&c->memo, w->argv, w->argc);
    w->has_key = w->ours = false;
    if (!w->command || !w->command->n_keys)
        return;
    int at = commands_only_key(w->command, w->argv, w->argc);
    if (at > 0 && at < w->argc) {
        keyspace_find(c->server->keyspace, w->argv[at].ptr, w->argv[at].len, &w->key);
        w->has_key = true;
    }
}
void route_work(struct core *c, struct work *w);
void route_replied(struct core *c, struct message *m);     // a reply came home
void route_pending(struct core *c, struct client *client); // what waited for replies or credit
void route_starved(struct core *c);
void route_starve(struct core *c, struct client *client); // found no credit: it goes on later
void route_later(struct core *c, struct client *client);  // its pending commands, and what it sent

// --- refuse.c: all that can be refused before it is known where the command runs
// It is not, for one reason that looks quick; `route_refuse` knows. True: it was answered.
bool route_refuse(struct core *c, struct client *client, const struct work *w);
static inline bool refused(struct core *c, struct client *client, const struct work *w)
{
    if (__builtin_expect(w->command && !client->limited && command_fits(w->command, w->argc), 1))
        return false;
    return route_refuse(c, client, w);
}
// The same for a client that is subscribed to a channel, in RESP2.
bool refuse_subscribed(struct core *c, struct client *client, const struct work *w);

// --- attend.c: what stands before a command but for its own errors
enum attention {
    ATTEND_BUSY = 1u << 0,     // a script runs for too long: most commands are refused
    ATTEND_PAUSED = 1u << 1,   // CLIENT PAUSE
    ATTEND_SCRIPT = 1u << 3,   // a script of this core is under way: others wait
    ATTEND_MONITORS = 1u << 2, // clients of this core are in MONITOR: they may not use keys
};
enum attended {
    ATTENDED_RUN,   // it may run
    ATTENDED_DONE,  // it was answered
    ATTENDED_LATER, // it waits: the client's further commands do, too, until route_later
};
enum attended attend(struct core *c, struct client *client, const struct work *w);
// While a script is busy: true when the command may not run, and was answered.
bool attend_busy(struct core *c, struct client *client, const struct work *w);
// CLIENT PAUSE: true when the command waits for its end.
bool attend_paused(struct core *c, struct client *client, const struct work *w);
bool attend_turn(struct core *c); // once a turn, while `attention` is; true: more is due at once
void attend_forget(struct core *c, struct client *client); // it is gone
uint64_t attend_due_us(const struct core *c);              // when attend_turn has something to do
void attend_services(struct services *services);

// --- execute: runs a handler here
struct execution {
    struct session session;
    struct client *client; // NULL away from home
    const struct command *command;
    struct arg *argv;
    int argc;
    const struct key *key;
    struct out *out;
    const struct gathered *parts;
    unsigned n_parts;
    bool may_block, woken; // blocked.h
    int woken_key;
    bool blocked;            // the command waits: blocked_take gives the waiter that it has become
    bool may_step, may_work; // the reply may be written in steps, or prepared,
    struct stepped *stepped; // and is, by this
    bool may_migrate;        // the command may wait for another server,
    struct migration *migration; // and does, by this
    uint64_t cycles;             // in: what it has taken before; out: with what it took now
};
enum execute_what { EXECUTE_HANDLER, EXECUTE_START, EXECUTE_PART };
bool execute(struct core *c, struct execution *e, enum execute_what what);
// The lean way for nearly all commands: of ROUTE_KEYS or ROUTE_HOME, on own slots, with the reply
// going straight to the stream. Afterwards c->quick tells whether it waits, is stepped …
void execute_quick_init(struct core *c);
static inline bool execute_is_quick(const struct core *c, const struct command *command)
{
    return command->route <= ROUTE_SCRIPT && !c->closely &&
           !(command->flags & CMD_DENYOOM && c->settings.maxmemory);
}
void execute_quick(struct core *c, struct client *client, const struct work *w);
// The same for a command of a transaction.
void execute_queued(struct core *c, struct client *client, const struct queued *q, struct out *out);
// Ends the time of the commands that are timed together.
void execute_timed(struct core *c);
void count_error(struct core *c, const char *text, size_t len);
void count_failure(struct core *c, const struct request *r); // it has answered with an error
void session_of(const struct client *client, struct session *session);

// --- steps.c: replies written over several turns (commands/steps.h)
void *steps_begin(struct request *r, const struct key *key,
                  bool (*step)(struct request *r, void *state), size_t state_size);
void *steps_begin_work(struct request *r, bool (*step)(struct request *r, void *state),
                       void (*drop)(void *state), size_t state_size);
// Gives the walk the command that it belongs to, whose slots are held from now on; NULL ends it.
void steps_take(struct core *c, struct stepped *walk, struct message *m);
// The same for a command that has borrowed its slots.
void steps_take_loan(struct core *c, struct stepped *walk, struct loan *loan);
bool steps_run(struct core *c); // once a turn; true when there is something to do
void steps_end(struct core *c);

// --- migrate.c: talking to other servers (commands/migrate.h)
bool migrate_start(struct request *r, struct migrate *job); // services->migrate
bool migrate_owns(const struct core *c, const void *owner); // a stream's owner is a migration
bool migrate_event(struct core *c, struct stream *s);       // false: the stream is none of its own
bool migrate_turn(struct core *c);                          // time-outs; true when there was one
uint64_t migrate_due_us(const struct core *c);              // of the next time-out
void migrate_end(struct core *c);

// --- settings.c
void settings_read(struct core *c);
void settings_adopt(struct core *c); // takes the snapshot in force if it is a new one
enum log_level settings_log_level(const struct config *config);

// --- services.c
void services_init(struct core *c);

// --- control.c
bool control_receive(struct core *c);
// Answers `m`; the bytes are copied. Goes out as the control plane reads.
void control_answer(struct core *c, enum plane_message_kind kind, const struct plane_message *m,
                    const void *data, size_t len);
// connections.c, observe.c
void tell_connections(struct core *c, const struct plane_message *m, const uint8_t *data,
                      size_t len);
void tell_nic(struct core *c, const struct plane_message *m, const uint8_t *data, size_t len);
void tell_neighbours(struct core *c, const struct plane_message *m);
void ping_begin(struct core *c, const struct plane_message *m, const uint8_t *data,
                size_t len); // ping.c
void control_end(struct core *c);
void control_replied(struct core *c, struct client *client);

// --- memory.c: what a core holds beside its keys
void memory_start(struct core *c); // the core has started
// All of it, told to the store, which holds it to maxmemory. `clients` is what its clients hold:
// exactly, by a walk (memory_of_clients), or as of the last second (c->weights.bytes).
uint64_t memory_count(struct core *c, uint64_t clients);
uint64_t memory_of_clients(const struct core *c);

// --- figures.c
void figures_publish(struct core *c);
// Raises the process's peak of counted memory to `used`; the peak. Any core.
uint64_t figures_memory_peak(struct core *c, uint64_t used);
void figures_reset(struct core *c);

// --- counters.c: the transport's counters by name, for operators. Valid until the next call.
struct counter_row {
    const char *name, *group, *text; // as in the tables (dataplane/net/counters.h)
};
unsigned counters_of(struct core *c, const struct counter_row **rows, const uint64_t **values);

// --- server.c
// Starts everything, serves until it is told to stop, and ends it. Returns the exit status.
int server_run(struct config *config, const char *executable);
// Asks for an orderly end. Any thread, and a signal handler's.
void server_stop(struct server *server);
// Raises the limit of open files to what so many clients need, as far as it goes; for how many it
// is enough.
uint64_t server_clients_possible(uint64_t clients);
// Ends the sleep of the main thread.
void server_wake(struct server *server);
