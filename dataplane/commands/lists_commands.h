// List commands: their table, and the handlers it names.
#pragma once

#include "dataplane/commands/command.h"

extern const struct command lists_commands[]; // ends with name NULL

void blmove_command(struct request *r);
void blmpop_command(struct request *r);
void blpop_command(struct request *r);
void brpop_command(struct request *r);
void brpoplpush_command(struct request *r);
void lindex_command(struct request *r);
void linsert_command(struct request *r);
void llen_command(struct request *r);
void lmove_command(struct request *r);
void lmpop_command(struct request *r);
void lpop_command(struct request *r);
void lpos_command(struct request *r);
void lpush_command(struct request *r);
void lpushx_command(struct request *r);
void lrange_command(struct request *r);
void lrem_command(struct request *r);
void lset_command(struct request *r);
void ltrim_command(struct request *r);
void rpop_command(struct request *r);
void rpoplpush_command(struct request *r);
void rpush_command(struct request *r);
void rpushx_command(struct request *r);
