// Transaction commands: their table, and the handlers it names. What a client sends between MULTI
// and EXEC is kept, and run by EXEC, in core/transaction.c.
#pragma once

#include "dataplane/commands/command.h"

extern const struct command transactions_commands[]; // ends with name NULL

void discard_command(struct request *r);
void exec_command(struct request *r); // without MULTI before it
void multi_command(struct request *r);
void unwatch_command(struct request *r);
void watch_command(struct request *r);
