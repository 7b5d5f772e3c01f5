// DEBUG: what looks at values and keys (debug_data.c). Parts run on every core, replies put them
// together at home.
#pragma once

#include "dataplane/commands/command.h"

// Of the core that has the key of argument 2: writes a reply about its value.
typedef void debug_tell_fn(struct request *r, const struct key *key, const struct entry *e);
debug_tell_fn debug_tell_object, debug_tell_listpack, debug_tell_quicklist;
void debug_key_part(struct request *r, debug_tell_fn *tell);
void debug_key_reply(struct request *r);

void debug_digest_part(struct request *r);
void debug_digest_reply(struct request *r);
void debug_digest_value_part(struct request *r);
void debug_digest_value_reply(struct request *r);

// These start functions answer when they return false.
bool debug_htstats_start(struct request *r);
void debug_htstats_part(struct request *r);
void debug_htstats_reply(struct request *r);
bool debug_populate_start(struct request *r);
void debug_populate_part(struct request *r);
void debug_populate_reply(struct request *r);

void debug_packed_threshold(struct request *r);
