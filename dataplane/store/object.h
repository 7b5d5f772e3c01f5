// Values that are not strings. An entry holds a pointer to the object; type and encoding of the
// entry say what it is:
//
//   OBJ_LIST    ENC_QUICKLIST   struct quicklist (values/quicklist.h)
//   OBJ_SET     ENC_INTSET      values/intset.h
//               ENC_LISTPACK    values/listpack.h
//               ENC_HASHTABLE   struct members, without values
//   OBJ_HASH    ENC_LISTPACK    field, value, field, value …
//               ENC_HASHTABLE   struct members
//   OBJ_ZSET    ENC_LISTPACK    member, score, member, score … in order
//               ENC_SKIPLIST    struct zset (values/zset.h): members and a B+ tree
//   OBJ_STREAM  ENC_STREAM      struct stream (values/stream.h)
//
// Every change stands between `edit_begin` and `edit_end`, which counts memory, stamps the entry
// and deletes a key whose object became empty. No two edits may overlap. Big objects are never
// freed at once: the store takes them apart in `store_maintain`.
#pragma once

#include "dataplane/store/store.h"

// What a type's file provides for each of its encodings.
size_t object_memory(enum object_type type, enum object_encoding encoding, const void *object);
uint64_t object_length(enum object_type type, enum object_encoding encoding, const void *object);
// A deep copy; NULL: memory is short.
void *object_copy(struct store *s, enum object_type type, enum object_encoding encoding,
                  const void *object);
// A deep copy in steps of about `budget` elements. The object must not change meanwhile. NULL:
// memory is short. object_copy_end gives the copy, NULL when it is not whole (memory was short).
struct object_copying;
struct object_copying *object_copy_begin(enum object_type type, enum object_encoding encoding,
                                         const void *object);
bool object_copy_step(struct store *s, struct object_copying *c,
                      unsigned budget); // true: it is over
void *object_copy_end(struct object_copying *c);
// Frees what about `*budget` elements take; true when all is gone.
bool object_free_step(enum object_type type, enum object_encoding encoding, void *object,
                      unsigned *budget);
void object_free(enum object_type type, enum object_encoding encoding, void *object);

void *entry_object(const struct entry *e); // of an entry that is no string

// Frees an object that nobody refers to any more, whose memory counts for no slot: a big one is put
// aside and taken apart by `store_maintain`.
void store_discard_object(struct store *s, enum object_type type, enum object_encoding encoding,
                          void *object);

// Puts an object under a key, in the place of whatever is there (`at`: what store_find returned
// just now, or NULL). Takes the object over. expiry_ms -1: none. NULL: memory is short; the object
// is still the caller's.
struct entry *store_put_object(struct store *s, unsigned db, const struct key *key,
                               struct entry *at, enum object_type type,
                               enum object_encoding encoding, void *object, int64_t expiry_ms);

struct edit {
    struct store *store;
    unsigned db;
    const struct key *key; // stays the caller's until edit_end
    struct entry *entry;
    void *object;                  // the changer puts the new pointer here when it moved
    enum object_encoding encoding; // and the new encoding
    size_t before;
    int64_t next_due; // of its fields, before
};
// Before a change that gives a field a nearer expiry than all others of its hash: makes room for
// the store's note of it. False: memory is short.
bool edit_reserve_due(struct edit *edit);
struct edit edit_begin(struct store *s, unsigned db, const struct key *key, struct entry *e);
// `changes` is how much the change counts (rdb_changes_since_last_save). False: the object became
// empty and the key is gone.
bool edit_end(struct edit *edit, uint64_t changes);

// Within an edit: takes out a field whose time is over, which the changer has met.
void edit_expire_field(struct edit *edit, struct entry *field);

// Takes fields whose time is over out of a hash, a bounded number of them. Returns the entry, or
// NULL when the last field went, and the key with it.
struct entry *store_settle_fields(struct store *s, unsigned db, const struct key *key,
                                  struct entry *e);
