// The families of commands: one table each, in a file of its own, ended by an entry without a name.
// A new family is declared here and named in COMMAND_FAMILIES; table.c gathers them.
#pragma once

#include "dataplane/commands/command.h"

extern const struct command connection_commands[]; // PING, HELLO, SELECT …
extern const struct command server_commands[];     // COMMAND, CONFIG, INFO …

extern const struct command acl_commands[];
extern const struct command bitmaps_commands[];
extern const struct command functions_commands[]; // FCALL, FUNCTION
extern const struct command geo_commands[];
extern const struct command hashes_commands[];
extern const struct command hyperloglog_commands[];
extern const struct command keys_commands[];
extern const struct command lists_commands[];
extern const struct command observe_commands[]; // MONITOR, SLOWLOG, LATENCY
extern const struct command scripting_commands[];
extern const struct command pubsub_commands[];
extern const struct command sets_commands[];
extern const struct command streams_commands[];
extern const struct command strings_commands[];
extern const struct command transactions_commands[];
extern const struct command zsets_commands[];

// One a line, so that a new one moves none.
// clang-format off
#define COMMAND_FAMILIES \
    acl_commands, \
    bitmaps_commands, \
    connection_commands, \
    functions_commands, \
    geo_commands, \
    hashes_commands, \
    hyperloglog_commands, \
    keys_commands, \
    lists_commands, \
    observe_commands, \
    pubsub_commands, \
    scripting_commands, \
    server_commands, \
    sets_commands, \
    streams_commands, \
    strings_commands, \
    transactions_commands, \
    zsets_commands
// clang-format on

// Handlers that a container of another family names.
void memory_usage_command(struct request *r); // MEMORY USAGE

// --- texts (helpers.c) -------------------------------------------------------------------------

struct outbuf;

// Writes formatted text of at most TEXT_ADD_MAX bytes; longer is cut.
#define TEXT_ADD_MAX 512
void text_add(struct out *o, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Answers with what was collected in `text` (emptied): a bulk string, in RESP3 a verbatim one.
void request_reply_text(struct request *r, struct outbuf *text);
// Answers "CONTAINER HELP": one status per line of `lines` (ended by NULL), between what every such
// reply starts and ends with.
void request_help(struct request *r, const char *container, const char *const *lines);
