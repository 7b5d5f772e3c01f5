// Hyperloglog commands: their table, and the handlers it names.
#pragma once

#include "dataplane/commands/command.h"

extern const struct command hyperloglog_commands[]; // ends with name NULL

void pfadd_command(struct request *r);
void pfcount_command(struct request *r);
void pfdebug_command(struct request *r);
void pfmerge_command(struct request *r);
void pfselftest_command(struct request *r);
