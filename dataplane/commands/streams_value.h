// What the handlers of streams share: the stream under a key, ids among the arguments and in
// replies, entries in replies, and the effects that tell of groups. For the streams' files only.
#pragma once

#include "common/outbuf.h"
#include "dataplane/commands/command.h"
#include "dataplane/store/object.h"
#include "dataplane/store/values/stream.h"

#define STREAM_ID_TEXT_MAX 44

struct skey {
    struct request *r;
    struct key key;
    struct entry *entry;    // NULL: there is none
    struct stream_value *x; // of the entry
    struct edit edit;
};
// Look up the stream of argument i. False: another type is there, which is answered.
bool skey_open_read(struct request *r, int i, struct skey *k);
bool skey_open_write(struct request *r, int i, struct skey *k);
void skey_edit(struct skey *k);
void skey_edit_end(struct skey *k, uint64_t changes);
// Puts a new stream (taken over) under the key. False: memory is short, which is answered.
bool skey_create(struct skey *k, struct stream_value *x);

// "5-3", "5" (then seq is `missing`); with `seq_given`, "5-*" too. False: it is no id; nothing is
// answered.
bool stream_read_id(const struct arg *a, struct stream_id *id, uint64_t missing, bool *seq_given);
// Whether it is this one of the words that stand for ids ('-', '+', '$', '>').
bool stream_id_is(const struct arg *a, char c);
// These answer when they return false. The first knows no "-" and "+".
bool stream_parse_id(struct request *r, int i, struct stream_id *id, bool *seq_given);
bool stream_parse_any_id(struct request *r, int i, struct stream_id *id);
bool stream_parse_start(struct request *r, int i, struct stream_id *id); // "(5-3" is behind it
bool stream_parse_end(struct request *r, int i, struct stream_id *id);

size_t stream_id_text(char text[STREAM_ID_TEXT_MAX], struct stream_id id);
void stream_reply_id(struct out *o, struct stream_id id);
void stream_reply_entry(struct out *o, struct stream_walk *w); // id and words
// Entries of a range, at most `count` (0: all), each behind the other. Returns their number.
uint64_t stream_reply_range(struct out *o, const struct stream_value *x, struct stream_id start,
                            struct stream_id end, uint64_t count, bool reverse);
// An array of `n` elements that were collected in `body`, which is emptied.
void stream_reply_collected(struct out *o, uint64_t n, struct outbuf *body);

// Length of an argument as a text that ends at its first zero byte, for "%.*s".
int stream_text_len(const struct arg *a);
// The group that argument i names; NULL also without a key.
struct stream_group *stream_group_of(const struct skey *k, int i);
// The consumer that argument i names, seen now; made where there is none (`*created`). NULL: memory
// is short.
struct stream_consumer *stream_consumer_of(struct skey *k, struct stream_group *g, int i,
                                           bool *created);

void stream_effect_id(struct request *r, struct stream_id id);
// XCLAIM in the form that makes the pending entry what it is now; `group` is an argument.
void stream_effect_claim(struct skey *k, int group, const struct stream_group *g,
                         const struct stream_nack *nack);
void stream_effect_group(struct skey *k, int group, const struct stream_group *g);
void stream_effect_consumer(struct skey *k, int group, const struct stream_consumer *c);
