// A hash as its commands see it, whichever of the two encodings it has. For the hashes' files only.
//
// A field whose time is over is there for nobody: reading passes it by, and whoever changes the
// hash takes it out when he meets it.
#pragma once

#include "dataplane/commands/command.h"
#include "dataplane/store/members.h"
#include "dataplane/store/object.h"

struct hash {
    struct request *r;
    struct key key;
    struct entry *entry; // NULL: there is none (yet)
    void *object;
    enum object_encoding encoding;
    struct edit edit;
    uint64_t changes;
    bool short_of_memory; // in the middle of an edit of several fields
    int64_t now_ms;       // when it was opened: a reply over several turns sees one time
};

// Looks up the hash of argument 1. False: another type is there, which is answered. When there is
// none, `entry` is NULL.
bool hash_open_read(struct request *r, struct hash *h);
bool hash_open_peek(struct request *r, struct hash *h); // without the look being a use of it
bool hash_open_write(struct request *r, struct hash *h);

// Around changes. hash_edit makes an empty hash where there is none. False: memory is short.
bool hash_edit(struct hash *h);
// Before the first hash_set_expiry of an edit. False: memory is short.
bool hash_reserve_due(struct hash *h);
enum hash_end {
    HASH_STAYS,
    HASH_GONE,   // with its last field
    HASH_FAILED, // memory is short for a new key; nothing is there
};
enum hash_end hash_edit_end(struct hash *h);
// Ends the edit and announces `event`, where anything changed. False: memory is short, which is
// answered.
bool hash_finish(struct hash *h, const char *event);

uint64_t hash_length(const struct hash *h); // expired fields that nobody met yet count

// One field. `ptr` and `len` are the value's bytes, of digits of an integer those in `scratch`.
struct field {
    const uint8_t *ptr;
    size_t len;
    char scratch[24];
    uint8_t *place;       // of the value, in a listpack
    struct entry *member; // in a table
};
bool hash_find(const struct hash *h, const void *name, size_t len, struct field *f);
int64_t field_expiry(const struct field *f); // Unix ms, -1: none

// The following stand between hash_edit and hash_edit_end.

// Gives a field a value; `keep` leaves the expiry it has. False: memory is short.
bool hash_set(struct hash *h, const struct arg *name, const void *value, size_t len, bool keep,
              bool *created);
bool hash_remove(struct hash *h, const void *name, size_t len); // whether it was there
// -1: none. False: memory is short. The field must be there.
bool hash_set_expiry(struct hash *h, const void *name, size_t len, int64_t expiry_ms);
// Changes a listpack to a table where one of these arguments is long for one, or all are too much.
bool hash_prepare(struct hash *h, int first, int last);
bool hash_to_table(struct hash *h);

// Walks over all live fields, in the order of the listpack or of the table.
struct hash_iterator {
    const struct hash *h;
    uint8_t *next;
    struct members_iterator members;
    const uint8_t *name;
    size_t name_len;
    char scratch[24];
    struct field value;
};
struct hash_iterator hash_begin(const struct hash *h);
bool hash_next(struct hash_iterator *it);
// Whether there may be fields that are over and that nobody met yet.
bool hash_any_over(const struct hash *h);
// How many live fields there are. False: it would take a walk, since many are over.
bool hash_count(const struct hash *h, uint64_t *live);
uint64_t hash_live(const struct hash *h); // with that walk
