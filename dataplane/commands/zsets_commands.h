// Sorted-set commands: their table, and the handlers it names.
#pragma once

#include "dataplane/commands/command.h"

extern const struct command zsets_commands[]; // ends with name NULL

void bzmpop_command(struct request *r);
void bzpopmax_command(struct request *r);
void bzpopmin_command(struct request *r);
void zadd_command(struct request *r);
void zcard_command(struct request *r);
void zcount_command(struct request *r);
void zdiff_command(struct request *r);
void zdiffstore_command(struct request *r);
void zincrby_command(struct request *r);
void zinter_command(struct request *r);
void zintercard_command(struct request *r);
void zinterstore_command(struct request *r);
void zlexcount_command(struct request *r);
void zmpop_command(struct request *r);
void zmscore_command(struct request *r);
void zpopmax_command(struct request *r);
void zpopmin_command(struct request *r);
void zrandmember_command(struct request *r);
void zrange_command(struct request *r);
void zrangebylex_command(struct request *r);
void zrangebyscore_command(struct request *r);
void zrangestore_command(struct request *r);
void zrank_command(struct request *r);
void zrem_command(struct request *r);
void zremrangebylex_command(struct request *r);
void zremrangebyrank_command(struct request *r);
void zremrangebyscore_command(struct request *r);
void zrevrange_command(struct request *r);
void zrevrangebylex_command(struct request *r);
void zrevrangebyscore_command(struct request *r);
void zrevrank_command(struct request *r);
void zscan_command(struct request *r);
void zscore_command(struct request *r);
void zunion_command(struct request *r);
void zunionstore_command(struct request *r);
