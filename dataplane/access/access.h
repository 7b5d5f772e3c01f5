// Access control: users, what they may do, and how rules say so, in the notation of ACL SETUSER.
// Pure logic: commands are dense numbers with names and categories, keys and channels are bytes;
// nothing here does I/O or reads a clock.
//
// A user is built by its owner (access_user_new or access_user_copy, then access_user_apply) and
// never changed once others see it; what changes is a copy that takes its place in a set of users.
// Users and sets are counted, so whoever holds one keeps it whole, on any thread.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/out.h"

// Numbers of commands are smaller; the bit of this number stands for commands yet to come.
#define ACCESS_COMMANDS_MAX 1023
// Hexadecimal digits of a password's hash (SHA-256).
#define ACCESS_HASH_LEN 64
#define ACCESS_DEFAULT_USER "default"

// --- what there is to allow ----------------------------------------------------------------------

struct access_command {
    const char *name; // lower case, "get" or "config|get"
    uint32_t categories;
    uint16_t parent;        // its own number where it is no subcommand
    uint16_t n_subcommands; // which follow it
};
struct access_table {
    unsigned n_commands;
    const struct access_command *commands; // by number
    unsigned n_categories;
    const char *const *categories;             // names, by bit
    int (*find)(const char *name, size_t len); // a command's number, any letter case; -1: unknown
};

// --- checking ------------------------------------------------------------------------------------

enum access_denial { // in this order: of several selectors' denials the last one here is told
    ACCESS_GRANTED,
    ACCESS_DENIED_COMMAND,
    ACCESS_DENIED_KEY,
    ACCESS_DENIED_AUTH, // in the log alone
    ACCESS_DENIED_CHANNEL,
};

enum access_use_flags {
    ACCESS_READ = 1u << 0,    // of a key's value; neither: only whether it exists, and the like
    ACCESS_WRITE = 1u << 1,   // to a key
    ACCESS_CHANNEL = 1u << 2, // a channel, not a key
    ACCESS_PATTERN = 1u << 3, // a pattern of channels
};
// A key or channel among the arguments of a command, and what the command does to it.
struct access_use {
    const void *ptr;
    size_t len;
    int at; // which argument
    unsigned flags;
};
struct access_attempt {
    unsigned command;
    bool for_all; // everybody may run the command (AUTH, HELLO …); its keys are looked at still
    const void *first; // its first argument; NULL: none. Of a subcommand the one behind it.
    size_t first_len;
    const struct access_use *uses; // keys, then channels
    unsigned n_uses;
};

struct access_user;

// What is denied of it, and which argument (0: the command itself).
enum access_denial access_check(const struct access_user *u, const struct access_attempt *a,
                                int *at);
// Whether one of the selectors that grant the attempt lets it touch any key in these ways.
bool access_reaches_all_keys(const struct access_user *u, const struct access_attempt *a,
                             unsigned flags);
bool access_may_use(const struct access_user *u, const struct access_use *use);
// Whether `u` may listen to all that `before` might.
bool access_keeps_channels(const struct access_user *u, const struct access_user *before);

// --- users ---------------------------------------------------------------------------------------

// A user that may do nothing; the default user may do everything. NULL: memory is short.
struct access_user *access_user_new(const char *name, size_t len, bool all_channels);
struct access_user *access_user_new_default(void);
struct access_user *access_user_copy(const struct access_user *u);       // of the same identity
const struct access_user *access_user_hold(const struct access_user *u); // NULL is allowed
void access_user_drop(const struct access_user *u);                      // NULL is allowed
// The process's number of a user: copies have that of the original, a new user of an old name has
// its own.
uint64_t access_user_identity(const struct access_user *u);
const char *access_user_name(const struct access_user *u, size_t *len); // ends with a NUL byte
bool access_user_is_default(const struct access_user *u);
bool access_user_enabled(const struct access_user *u);
bool access_user_needs_password(const struct access_user *u);
// It may do everything: there is nothing to check.
bool access_user_unlimited(const struct access_user *u);
// It is enabled and this is its password, or it needs none. Takes the same time for each wrong one.
bool access_user_is(const struct access_user *u, const void *password, size_t len);

enum access_error {
    ACCESS_OK,
    ACCESS_ERROR_UNKNOWN,
    ACCESS_ERROR_SYNTAX,
    ACCESS_ERROR_ALL_KEYS,
    ACCESS_ERROR_ALL_CHANNELS,
    ACCESS_ERROR_NO_PASSWORD,
    ACCESS_ERROR_HASH,
    ACCESS_ERROR_DUPLICATE,
    ACCESS_ERROR_NESTED_FIRST,
    ACCESS_ERROR_MEMORY,
};
// In the words of Redis.
const char *access_error_text(enum access_error error);

struct access_rule {
    const char *ptr;
    size_t len;
};
// What ACL SETUSER takes as one rule: a word, or "(…)" with the words of a selector. The user is
// changed when it is well-formed only. `all_channels`: what `acl-pubsub-default` gives.
enum access_error access_user_apply(struct access_user *u, const struct access_table *t,
                                    struct access_rule rule, bool all_channels);
// Words, of which those between "(" and ")" are joined to one rule. The number of rules in `rules`
// (room for `n`), whose joined text is in `*joined` (mimalloc, to be freed). -1: a selector is not
// closed, the one of word `*open`; -2: memory is short.
int access_join_rules(const struct access_rule *words, int n, struct access_rule *rules,
                      char **joined, int *open);
// A name that a user may have.
bool access_valid_name(const char *name, size_t len);

// --- describing ----------------------------------------------------------------------------------

// "on nopass ~* &* +@all": what gives the user again.
void access_describe(const struct access_user *u, const struct access_table *t, struct out *o);

// The parts of it, for ACL GETUSER.
unsigned access_user_flags(const struct access_user *u, const char *names[4]);
unsigned access_user_passwords(const struct access_user *u);
const char *access_user_password(const struct access_user *u, unsigned i); // ACCESS_HASH_LEN digits
unsigned access_user_selectors(const struct access_user *u); // the root one, which is 0, included
void access_describe_commands(const struct access_user *u, unsigned selector,
                              const struct access_table *t, struct out *o);
void access_describe_keys(const struct access_user *u, unsigned selector, struct out *o);
void access_describe_channels(const struct access_user *u, unsigned selector, struct out *o);

// --- sets of users -------------------------------------------------------------------------------

// In order of name, each name once, the default user always among them. Never changed.
struct access_users {
    _Atomic unsigned references;
    unsigned n;
    const struct access_user *at[];
};
struct access_users *access_users_new(void); // the default user alone; NULL: memory is short
const struct access_users *access_users_hold(const struct access_users *s);
void access_users_drop(const struct access_users *s); // NULL is allowed
const struct access_user *access_users_find(const struct access_users *s, const char *name,
                                            size_t len);
const struct access_user *access_users_default(const struct access_users *s);
size_t access_users_memory(const struct access_users *s); // bytes; looks at every rule
// A set with `u` in the place of the one of its name, or added. Takes the caller's reference to
// `u`. NULL: memory is short.
struct access_users *access_users_with(const struct access_users *s, struct access_user *u);
struct access_users *access_users_without(const struct access_users *s, const char *name,
                                          size_t len);
// Reads lines "user NAME RULE…" of `file` (a name for people). NULL when there is an error: all of
// them are told in `errors`. `before` gives the default user its identity.
struct access_users *access_users_load(const struct access_users *before,
                                       const struct access_table *t, const char *text, size_t len,
                                       const char *file, bool all_channels, struct out *errors);
// The same line by line, as words of which the first is the user's name. `everybody`: the default
// user unless a line names it; NULL: a new one, and lines stand for all that there is. NULL: memory
// is short.
struct access_loading;
struct access_loading *access_loading_new(const struct access_table *t, const char *file,
                                          bool all_channels, const struct access_user *everybody,
                                          struct out *errors);
// `place`: what errors name as the line's place, besides its user; NULL: file and line, as Redis
// has it.
void access_loading_add(struct access_loading *l, const char *place, unsigned line,
                        const struct access_rule *words, int n);
// NULL: something was wrong.
struct access_users *access_loading_end(struct access_loading *l,
                                        const struct access_users *before);
// The lines again.
void access_users_save(const struct access_users *s, const struct access_table *t, struct out *o);

// --- passwords -----------------------------------------------------------------------------------

void access_hash(const void *password, size_t len, char hash[static ACCESS_HASH_LEN]);

// --- the log of what was denied ------------------------------------------------------------------

enum access_context { ACCESS_TOPLEVEL, ACCESS_MULTI, ACCESS_LUA };
struct access_entry {
    struct access_entry *next;
    enum access_denial reason;
    enum access_context context;
    uint64_t count, last_ms;
    char *object, *user, *client; // mimalloc
    size_t object_len, user_len, client_len;
};
struct access_log {
    struct access_entry *first; // the newest
    unsigned n;
    size_t bytes; // of memory, of all entries
};
// Entries that are alike and near in time become one, which comes to the front. `e` is copied; at
// most `max` stay.
void access_log_add(struct access_log *log, const struct access_entry *e, uint64_t max);
void access_log_trim(struct access_log *log, uint64_t max);
const char *access_reason_name(enum access_denial reason);
const char *access_context_name(enum access_context context);
