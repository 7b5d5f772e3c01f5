// Handlers of the publish/subscribe commands.
#pragma once

#include "dataplane/commands/command.h"

void subscribe_command(struct request *r);
void psubscribe_command(struct request *r);
void ssubscribe_command(struct request *r);
void unsubscribe_command(struct request *r);
void punsubscribe_command(struct request *r);
void sunsubscribe_command(struct request *r);

uint64_t publish_asks(struct core *core, const struct services *services, const struct arg *argv,
                      int argc);
void publish_part(struct request *r);
uint64_t spublish_asks(struct core *core, const struct services *services, const struct arg *argv,
                       int argc);
void spublish_part(struct request *r);
void publish_command(struct request *r); // adds up the parts; SPUBLISH, too

// PUBSUB (pubsub_about.c).
bool pubsub_channels_start(struct request *r);
void pubsub_channels_part(struct request *r);
void pubsub_channels_command(struct request *r);
void pubsub_numpat_part(struct request *r);
void pubsub_numpat_command(struct request *r);
void pubsub_numsub_part(struct request *r);
void pubsub_numsub_command(struct request *r);
void pubsub_shardchannels_part(struct request *r);
void pubsub_shardnumsub_part(struct request *r);
void pubsub_help_command(struct request *r);
