// What users may run: the command table as dataplane/access sees it, and the question itself. A
// session's `user` is NULL where there is nothing to ask.
#pragma once

#include "dataplane/access/access.h"
#include "dataplane/commands/command.h"

void permission_init(void); // commands_init calls it
const struct access_table *permission_table(void);
// Whether the user may run the command with these arguments; `*at` is the one that is denied (0:
// the command itself). NULL may run everything. Looks only: what is denied is told by
// access_denied (core/access.h).
enum access_denial permission_check(const struct access_user *user, const struct command *command,
                                    const struct arg *argv, int argc, int *at);
// Whether the user may run it and read keys that nobody names (SORT … BY and GET).
bool permission_reads_all_keys(const struct access_user *user, const struct command *command,
                               const struct arg *argv, int argc);
// "NOPERM …" for the client (`size` 160 is enough), and what a script is told behind "ERR ".
void permission_error(enum access_denial denial, const struct command *command, char *text,
                      size_t size);
const char *permission_error_of_call(enum access_denial denial);
// "config|get", as rules name it.
const char *permission_name(const struct command *command);
