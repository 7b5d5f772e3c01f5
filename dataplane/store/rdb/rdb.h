// Redis's serialisation of values: what DUMP gives, RESTORE takes, and files and replicas carry.
// Bytes in, values out, and back; no files. A value is a type byte, which the caller keeps apart
// (files put the key behind it), and its bytes.
//
// Writing needs no memory but the output's, and a buffer where it compresses: without one it does
// not compress. Reading believes nothing: every length is held against the bytes that are there
// before memory is taken for it, and what is inside is checked element by element, so that no value
// comes out that the store could not have made itself.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arg.h"
#include "common/out.h"
#include "dataplane/store/store.h"

enum rdb_type {
    RDB_STRING = 0,
    RDB_LIST = 1,
    RDB_SET = 2,
    RDB_ZSET = 3, // scores as text
    RDB_HASH = 4,
    RDB_ZSET_2 = 5, // scores as doubles
    RDB_HASH_ZIPMAP = 9,
    RDB_LIST_ZIPLIST = 10,
    RDB_SET_INTSET = 11,
    RDB_ZSET_ZIPLIST = 12,
    RDB_HASH_ZIPLIST = 13,
    RDB_LIST_QUICKLIST = 14, // of ziplists
    RDB_STREAM = 15,
    RDB_HASH_LISTPACK = 16,
    RDB_ZSET_LISTPACK = 17,
    RDB_LIST_QUICKLIST_2 = 18,
    RDB_STREAM_2 = 19,     // with first id, largest deleted id, entries added and read
    RDB_SET_LISTPACK = 20, // from version 11 on
    RDB_STREAM_3 = 21,     // and when consumers were last active; from version 11 on
    RDB_HASH_METADATA_PRE_GA = 22,
    RDB_HASH_LISTPACK_EX_PRE_GA = 23,
    RDB_HASH_METADATA = 24,    // fields with expiries; from version 12 on
    RDB_HASH_LISTPACK_EX = 25, // the same in a listpack of triples
};

// Before the text of a library of functions, which no key has.
enum { RDB_FUNCTION = 245 };

enum {
    RDB_VERSION = 10,        // of Redis 7.0: what is written wherever it can say the value
    RDB_VERSION_FIELDS = 12, // of Redis 7.4: hashes whose fields expire
    RDB_VERSION_MAX = 12,    // the newest that is read
};

// Thresholds of encodings: the directives of the same names.
struct rdb_limits {
    uint64_t hash_max_listpack_entries, hash_max_listpack_value;
    uint64_t set_max_intset_entries, set_max_listpack_entries, set_max_listpack_value;
    uint64_t zset_max_listpack_entries, zset_max_listpack_value;
    int list_max_listpack_size;
    unsigned list_compress_depth;
};

// --- writing ------------------------------------------------------------------------------------

// The type that rdb_write_value writes for an entry, and the version of Redis's format that knows
// it.
enum rdb_type rdb_type_of(const struct entry *e, unsigned *version);
// The value, without its type.
void rdb_write_value(struct out *o, const struct entry *e, bool compress);
void rdb_write_length(struct out *o, uint64_t n);
// A string: as an integer where it is a short one, compressed where that is wanted and pays.
void rdb_write_string(struct out *o, const void *data, size_t len, bool compress);
void rdb_write_milliseconds(struct out *o, uint64_t ms);
void rdb_write_bytes(struct out *o, const void *data, size_t len);

// --- reading ------------------------------------------------------------------------------------

enum rdb_error { RDB_OK, RDB_BAD, RDB_NO_MEMORY };

// Bytes to be read. The first failure stays, and everything read after it is 0 or empty, so a
// reader may look once at the end of a step.
struct rdb_reader {
    const uint8_t *at, *end;
    enum rdb_error error;
};

static inline struct rdb_reader rdb_reader(const void *data, size_t len)
{
    return (struct rdb_reader){.at = data, .end = (const uint8_t *)data + len};
}

// A string that was read: in the bytes themselves, in `digits`, or in `block`.
struct rdb_string {
    const uint8_t *ptr;
    size_t len;
    struct block *block; // the holder's, NULL: none
    char digits[24];
};
uint64_t rdb_read_length(struct rdb_reader *r);
uint64_t rdb_read_milliseconds(struct rdb_reader *r);
const uint8_t *rdb_read_bytes(struct rdb_reader *r, size_t len); // NULL: there are fewer
bool rdb_read_string(struct rdb_reader *r, struct rdb_string *string);
void rdb_string_clear(struct rdb_string *string);

// A value that was read.
struct rdb_value {
    enum object_type type;
    enum object_encoding encoding; // of an object
    void *object;                  // NULL: a string
    struct rdb_string string;
};
// Reads one value of a type. False: `r->error` says why, and nothing is left behind.
bool rdb_read_value(struct rdb_reader *r, struct store *s, const struct rdb_limits *limits,
                    enum rdb_type type, struct rdb_value *value);
// Puts it under a key, in the place of `at` (what store_find returned just now, or NULL). The value
// is the store's then. NULL: memory is short; the value is still the caller's.
struct entry *rdb_put_value(struct store *s, unsigned db, const struct key *key, struct entry *at,
                            struct rdb_value *value, int64_t expiry_ms);
void rdb_value_clear(struct rdb_value *value);
