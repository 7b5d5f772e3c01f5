// Set commands: their table, and the handlers it names.
#pragma once

#include "dataplane/commands/command.h"

extern const struct command sets_commands[]; // ends with name NULL

void sadd_command(struct request *r);
void scard_command(struct request *r);
void sdiff_command(struct request *r);
void sdiffstore_command(struct request *r);
void sinter_command(struct request *r);
void sintercard_command(struct request *r);
void sinterstore_command(struct request *r);
void sismember_command(struct request *r);
void smembers_command(struct request *r);
void smismember_command(struct request *r);
void smove_command(struct request *r);
void spop_command(struct request *r);
void srandmember_command(struct request *r);
void srem_command(struct request *r);
void sscan_command(struct request *r);
void sunion_command(struct request *r);
void sunionstore_command(struct request *r);
