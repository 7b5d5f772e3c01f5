// The families of commands: one table each, in a file of its own, ended by an entry without a name.
// A new family is declared here and named in COMMAND_FAMILIES; table.c gathers them.
#pragma once

#include "dataplane/commands/command.h"

extern const struct command connection_commands[]; // PING, HELLO, SELECT …
extern const struct command command_commands[];    // COMMAND

extern const struct command strings_commands[];
extern const struct command keys_commands[];
#define COMMAND_FAMILIES connection_commands, command_commands, strings_commands, keys_commands

// Handlers that a container of another family names.
void memory_usage_command(struct request *r); // MEMORY USAGE

// Answers "CONTAINER HELP": what it is, one text per line of `lines` (ended by NULL), and HELP
// itself.
void request_help(struct request *r, const char *container, const char *const *lines);
