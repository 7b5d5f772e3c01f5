// Handlers as a script sees them: a line of words in, the text of the reply out. Beneath is a real
// store of some cores, a clock that stands still until it is told to go on, and a configuration of
// two options.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCRIPT_CORES_MAX 3
#define SCRIPT_START_MS 1700000000000 // what the clock shows first

struct script;

struct script *script_open(unsigned cores);
void script_close(struct script *s);
void script_advance(struct script *s, uint64_t ms);
// The thresholds of encodings, Redis's defaults; to be changed by the test.
struct value_limits *script_limits(struct script *s);
void script_resp(struct script *s, int resp);
// Of the configuration: proto-max-bulk-len and maxmemory-policy.
void script_configure(struct script *s, const char *bulk_max, const char *policy);
// Runs one command. A word may stand in double quotes; "" is the empty one. The reply is valid
// until the next call, each "\r\n" in it shown as one space.
const char *script_run(struct script *s, const char *line);
// The same for one word that is given by its bytes; it stands for the word "@" of the line.
const char *script_run_with(struct script *s, const char *line, const void *data, size_t len);
size_t script_reply_len(const struct script *s);
// The last reply as it was written.
const uint8_t *script_reply(const struct script *s);
uint64_t script_keys(const struct script *s); // of database 0
uint64_t script_memory(const struct script *s);
// The effects of the last command (effects.h): their words, each command behind "; " but the first.
const char *script_effects(const struct script *s);
// DEL and HDEL of what the stores have taken away on their own since the last call.
// The first call begins to listen.
const char *script_gone(struct script *s);
// The background work of all cores until nothing is due; one turn of it, true: more is due.
void script_maintain(struct script *s);
bool script_maintain_turn(struct script *s, unsigned budget);
// maxmemory, under allkeys-lru; 0: none. From then on commands that may add memory make room first.
void script_limit_memory(struct script *s, uint64_t maxmemory);
// Drops what was kept of the last command, so that no memory is in use but the store's.
void script_forget(struct script *s);

struct step {
    const char *line, *reply;
};
// Plays steps until one with line NULL, and fails at the first reply that differs.
void script_play(struct script *s, const struct step *steps);
