// Hash commands: their table, and the handlers it names.
#pragma once

#include "dataplane/commands/command.h"

extern const struct command hashes_commands[]; // ends with name NULL

void hdel_command(struct request *r);
void hexists_command(struct request *r);
void hexpire_command(struct request *r);
void hexpireat_command(struct request *r);
void hexpiretime_command(struct request *r);
void hget_command(struct request *r);
void hgetall_command(struct request *r);
void hgetdel_command(struct request *r);
void hgetex_command(struct request *r);
void hincrby_command(struct request *r);
void hincrbyfloat_command(struct request *r);
void hkeys_command(struct request *r);
void hlen_command(struct request *r);
void hmget_command(struct request *r);
void hmset_command(struct request *r);
void hpersist_command(struct request *r);
void hpexpire_command(struct request *r);
void hpexpireat_command(struct request *r);
void hpexpiretime_command(struct request *r);
void hpttl_command(struct request *r);
void hrandfield_command(struct request *r);
void hscan_command(struct request *r);
void hset_command(struct request *r);
void hsetex_command(struct request *r);
void hsetnx_command(struct request *r);
void hstrlen_command(struct request *r);
void httl_command(struct request *r);
void hvals_command(struct request *r);
