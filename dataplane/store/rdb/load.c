// Reading values: strings, sets and hashes, and the choice among all types.
#include <stdlib.h>

#include "common/block.h"
#include "dataplane/store/rdb/internal.h"

// A field's time is told in 48 bits; Redis refuses later ones too.
#define FIELD_EXPIRY_MAX (ENTRY_EXPIRY_MAX - 1)

uint64_t rdb_read_count(struct rdb_reader *r, size_t least)
{
    uint64_t n = rdb_read_length(r);
    if (r->error || !n || n > rdb_left(r) / least) {
        rdb_bad(r);
        return 0;
    }
    return n;
}

bool rdb_add_member(struct rdb_load *l, struct members *m, const uint8_t *name, size_t len,
                    const uint8_t *value, size_t value_len)
{
    if (len > UINT32_MAX || value_len > UINT32_MAX || members_find(l->s, m, name, len))
        return rdb_bad(l->r);
    return members_add(l->s, m, name, len, value, value_len) || rdb_short(l->r);
}

// --- equal elements -----------------------------------------------------------------------------

struct hashed {
    uint64_t hash;
    const uint8_t *element;
};

static int by_hash(const void *a, const void *b)
{
    uint64_t x = ((const struct hashed *)a)->hash, y = ((const struct hashed *)b)->hash;
    return x < y ? -1 : x > y;
}

// Elements of one hash stand together when sorted. The hash is keyed: nobody outside can make many
// of them.
bool rdb_unique(struct rdb_load *l, const uint8_t *lp, unsigned step)
{
    uint32_t n = 0, most = lp_count(lp) / step;
    char digits[24];
    size_t len;
    struct hashed *all = mi_mallocn(most + 1, sizeof(*all));
    if (!all)
        return rdb_short(l->r);
    unsigned at = 0;
    for (const uint8_t *p = lp_first(lp); p && n < most; p = lp_next(lp, p)) {
        if (at++ % step)
            continue;
        const uint8_t *text = lp_text(p, digits, &len);
        all[n++] = (struct hashed){hash_key(&l->s->ks->secret, text, len), p};
    }
    qsort(all, n, sizeof(*all), by_hash);
    bool same = false;
    for (uint32_t i = 1; i < n && !same; i++)
        for (uint32_t k = i; k > 0 && !same && all[k - 1].hash == all[i].hash; k--) {
            const uint8_t *text = lp_text(all[i].element, digits, &len);
            same = lp_equal(all[k - 1].element, text, len);
        }
    mi_free(all);
    return !same || rdb_bad(l->r);
}

// --- listpacks ----------------------------------------------------------------------------------

uint8_t *rdb_read_listpack(struct rdb_reader *r, unsigned step, bool may_be_empty)
{
    struct rdb_string string;
    uint32_t n = 0;
    uint8_t *lp = NULL;
    if (!rdb_read_string(r, &string))
        return NULL;
    if (!lp_validate(string.ptr, string.len, &n) || (!n && !may_be_empty) || n % step)
        rdb_bad(r);
    else if (!(lp = lp_copy(string.ptr)))
        rdb_short(r);
    rdb_string_clear(&string);
    return lp;
}

static bool set_field_expiry(struct rdb_load *l, struct members *m, const uint8_t *name, size_t len,
                             uint64_t expiry_ms)
{
    if (expiry_ms > FIELD_EXPIRY_MAX)
        return rdb_bad(l->r);
    struct entry *e = members_find(l->s, m, name, len);
    return !expiry_ms || members_set_expiry(l->s, m, e, (int64_t)expiry_ms) || rdb_short(l->r);
}

struct members *rdb_members_of(struct rdb_load *l, const uint8_t *lp, unsigned step)
{
    struct members *m = members_new();
    if (!m)
        rdb_short(l->r);
    for (const uint8_t *p = lp_first(lp); p && !l->r->error; p = lp_next(lp, p)) {
        char digits[2][24];
        size_t len, value_len = 0;
        int64_t expiry = 0;
        const uint8_t *name = lp_text(p, digits[0], &len), *value = NULL;
        if (step > 1)
            value = lp_text(p = lp_next(lp, p), digits[1], &value_len);
        if (step > 2 && !lp_integer(p = lp_next(lp, p), &expiry))
            rdb_bad(l->r);
        else if (rdb_add_member(l, m, name, len, value, value_len) && expiry)
            set_field_expiry(l, m, name, len, (uint64_t)expiry);
    }
    if (m && l->r->error) {
        members_free(m);
        m = NULL;
    }
    return m;
}

// Takes the listpack as it is, or makes a table of it.
static bool settle(struct rdb_load *l, uint8_t *lp, unsigned step, bool keep)
{
    if (keep && rdb_unique(l, lp, step))
        return rdb_done(l, ENC_LISTPACK, lp);
    struct members *m = keep ? NULL : rdb_members_of(l, lp, step);
    lp_free(lp);
    return rdb_done(l, ENC_HASHTABLE, m);
}

bool rdb_hash_of(struct rdb_load *l, uint8_t *lp)
{
    return lp && settle(l, lp, 2, lp_count(lp) / 2 <= l->limits->hash_max_listpack_entries);
}

bool rdb_set_of(struct rdb_load *l, uint8_t *lp)
{
    return lp && settle(l, lp, 1, lp_count(lp) <= l->limits->set_max_listpack_entries);
}

// --- hashes -------------------------------------------------------------------------------------

// A hash field by field: in a listpack as long as the limits take it, then in a table.
struct growing_hash {
    uint8_t *lp;
    struct members *m;
};

static bool hash_add(struct rdb_load *l, struct growing_hash *h, const struct rdb_string *field,
                     const struct rdb_string *value)
{
    if (h->lp) {
        uint64_t most = l->limits->hash_max_listpack_value;
        uint8_t *lp = h->lp;
        if (field->len <= most && value->len <= most && lp_takes(lp, field->len + value->len)) {
            lp = lp_append(lp, field->ptr, field->len);
            h->lp = lp ? lp : h->lp;
            lp = lp ? lp_append(lp, value->ptr, value->len) : NULL;
            h->lp = lp ? lp : h->lp;
            return lp || rdb_short(l->r);
        }
        h->m = rdb_members_of(l, lp, 2);
        lp_free(lp);
        h->lp = NULL;
    }
    return h->m && rdb_add_member(l, h->m, field->ptr, field->len, value->ptr, value->len);
}

static bool load_hash(struct rdb_load *l)
{
    uint64_t n = rdb_read_count(l->r, 2);
    struct growing_hash h = {0};
    if (l->r->error)
        return false;
    if (n <= l->limits->hash_max_listpack_entries)
        h.lp = lp_new(0);
    else
        h.m = members_new();
    bool ok = h.lp || h.m || rdb_short(l->r);
    for (; n && ok; n--) {
        struct rdb_string field, value = {0};
        ok = rdb_read_string(l->r, &field) && rdb_read_string(l->r, &value) &&
             hash_add(l, &h, &field, &value);
        rdb_string_clear(&field);
        rdb_string_clear(&value);
    }
    if (ok && h.lp && rdb_unique(l, h.lp, 2))
        return rdb_done(l, ENC_LISTPACK, h.lp);
    if (ok && h.m)
        return rdb_done(l, ENC_HASHTABLE, h.m);
    if (h.lp)
        lp_free(h.lp);
    if (h.m)
        members_free(h.m);
    return false;
}

// Fields with times: absolute ones before Redis 7.4 was released, then distances from the earliest.
static bool load_volatile_hash(struct rdb_load *l, bool absolute)
{
    uint64_t first = absolute ? 1 : rdb_read_milliseconds(l->r);
    uint64_t n = rdb_read_count(l->r, 3);
    struct members *m = l->r->error ? NULL : members_new();
    if (!m)
        return rdb_short(l->r);
    bool ok = true;
    for (; n && ok; n--) {
        struct rdb_string field = {0}, value = {0};
        uint64_t distance = rdb_read_length(l->r), expiry = 0;
        if (distance && (distance > FIELD_EXPIRY_MAX || first > FIELD_EXPIRY_MAX))
            rdb_bad(l->r);
        else if (distance)
            expiry = first + distance - 1;
        ok = rdb_read_string(l->r, &field) && rdb_read_string(l->r, &value) &&
             rdb_add_member(l, m, field.ptr, field.len, value.ptr, value.len) &&
             set_field_expiry(l, m, field.ptr, field.len, expiry);
        rdb_string_clear(&field);
        rdb_string_clear(&value);
    }
    if (!ok) {
        members_free(m);
        m = NULL;
    }
    return rdb_done(l, ENC_HASHTABLE, m);
}

static bool load_volatile_listpack(struct rdb_load *l, bool absolute)
{
    if (!absolute)
        rdb_read_milliseconds(l->r); // the earliest, which the fields tell too
    uint8_t *lp = l->r->error ? NULL : rdb_read_listpack(l->r, 3, false);
    return lp && settle(l, lp, 3, false);
}

static bool load_zipmap(struct rdb_load *l)
{
    uint8_t *lp = rdb_read_zipmap(l->r);
    if (!lp)
        return false;
    bool keep = lp_count(lp) / 2 <= l->limits->hash_max_listpack_entries;
    for (const uint8_t *p = lp_first(lp); p && keep; p = lp_next(lp, p)) {
        char digits[24];
        size_t len;
        lp_text(p, digits, &len);
        keep = len <= l->limits->hash_max_listpack_value;
    }
    return settle(l, lp, 2, keep);
}

// --- sets ---------------------------------------------------------------------------------------

// A set member by member: integers, then a listpack where those may be, then a table.
struct growing_set {
    uint8_t *is, *lp;
    struct members *m;
};

static void set_clear(struct growing_set *set)
{
    if (set->is)
        intset_free(set->is);
    if (set->lp)
        lp_free(set->lp);
    if (set->m)
        members_free(set->m);
}

static bool set_add_integer(struct rdb_load *l, struct growing_set *set, int64_t value)
{
    bool added;
    uint8_t *is = intset_add(set->is, value, &added);
    if (!is)
        return rdb_short(l->r);
    set->is = is;
    return added || rdb_bad(l->r);
}

// The integers so far, as the table or the listpack that takes a member of `len` bytes.
static bool set_leave_integers(struct rdb_load *l, struct growing_set *set, size_t len)
{
    uint32_t n = intset_count(set->is);
    bool compact = n < l->limits->set_max_listpack_entries &&
                   l->limits->set_max_listpack_value >= len &&
                   l->limits->set_max_listpack_value >= sizeof("-9223372036854775808") - 1;
    uint8_t *lp = lp_new(0);
    for (uint32_t i = 0; i < n && lp; i++) {
        uint8_t *more = lp_append_integer(lp, intset_at(set->is, i));
        if (!more)
            lp_free(lp);
        lp = more;
    }
    if (!lp)
        return rdb_short(l->r);
    intset_free(set->is);
    set->is = NULL;
    set->lp = lp;
    if (compact)
        return true;
    set->m = rdb_members_of(l, lp, 1);
    lp_free(lp);
    set->lp = NULL;
    return set->m;
}

static bool set_add(struct rdb_load *l, struct growing_set *set, const struct rdb_string *name)
{
    int64_t value;
    if (set->is && integer_parse(name->ptr, name->len, &value))
        return set_add_integer(l, set, value);
    if (set->is && !set_leave_integers(l, set, name->len))
        return false;
    if (set->lp) {
        if (lp_count(set->lp) < l->limits->set_max_listpack_entries &&
            name->len <= l->limits->set_max_listpack_value && lp_takes(set->lp, name->len)) {
            uint8_t *lp = lp_append(set->lp, name->ptr, name->len);
            if (!lp)
                return rdb_short(l->r);
            set->lp = lp;
            return true;
        }
        set->m = rdb_members_of(l, set->lp, 1);
        lp_free(set->lp);
        set->lp = NULL;
    }
    return set->m && rdb_add_member(l, set->m, name->ptr, name->len, NULL, 0);
}

static bool load_set(struct rdb_load *l)
{
    uint64_t n = rdb_read_count(l->r, 1);
    struct growing_set set = {0};
    if (l->r->error)
        return false;
    if (n <= l->limits->set_max_intset_entries && n <= INTSET_COUNT_MAX)
        set.is = intset_new();
    else
        set.m = members_new();
    bool ok = set.is || set.m || rdb_short(l->r);
    for (; n && ok; n--) {
        struct rdb_string name;
        ok = rdb_read_string(l->r, &name) && set_add(l, &set, &name);
        rdb_string_clear(&name);
    }
    if (ok && set.lp)
        ok = rdb_unique(l, set.lp, 1);
    if (ok && set.is)
        return rdb_done(l, ENC_INTSET, set.is);
    if (ok && set.lp)
        return rdb_done(l, ENC_LISTPACK, set.lp);
    if (ok)
        return rdb_done(l, ENC_HASHTABLE, set.m);
    set_clear(&set);
    return false;
}

static bool load_intset(struct rdb_load *l)
{
    struct rdb_string string;
    if (!rdb_read_string(l->r, &string))
        return false;
    struct growing_set set = {0};
    if (!intset_validate(string.ptr, string.len) || !intset_count(string.ptr))
        rdb_bad(l->r);
    else if (!(set.is = intset_copy(string.ptr)))
        rdb_short(l->r);
    rdb_string_clear(&string);
    if (!set.is)
        return false;
    if (intset_count(set.is) <= l->limits->set_max_intset_entries)
        return rdb_done(l, ENC_INTSET, set.is);
    // A member longer than any listpack takes: it must become a table.
    if (set_leave_integers(l, &set, SIZE_MAX))
        return rdb_done(l, ENC_HASHTABLE, set.m);
    set_clear(&set);
    return false;
}

// --- any type -----------------------------------------------------------------------------------

static enum object_type object_type_of(enum rdb_type type)
{
    static const enum object_type types[] = {
        [RDB_STRING] = OBJ_STRING,
        [RDB_LIST] = OBJ_LIST,
        [RDB_SET] = OBJ_SET,
        [RDB_ZSET] = OBJ_ZSET,
        [RDB_HASH] = OBJ_HASH,
        [RDB_ZSET_2] = OBJ_ZSET,
        [RDB_HASH_ZIPMAP] = OBJ_HASH,
        [RDB_LIST_ZIPLIST] = OBJ_LIST,
        [RDB_SET_INTSET] = OBJ_SET,
        [RDB_ZSET_ZIPLIST] = OBJ_ZSET,
        [RDB_HASH_ZIPLIST] = OBJ_HASH,
        [RDB_LIST_QUICKLIST] = OBJ_LIST,
        [RDB_STREAM] = OBJ_STREAM,
        [RDB_HASH_LISTPACK] = OBJ_HASH,
        [RDB_ZSET_LISTPACK] = OBJ_ZSET,
        [RDB_LIST_QUICKLIST_2] = OBJ_LIST,
        [RDB_STREAM_2] = OBJ_STREAM,
        [RDB_SET_LISTPACK] = OBJ_SET,
        [RDB_STREAM_3] = OBJ_STREAM,
        [RDB_HASH_METADATA_PRE_GA] = OBJ_HASH,
        [RDB_HASH_LISTPACK_EX_PRE_GA] = OBJ_HASH,
        [RDB_HASH_METADATA] = OBJ_HASH,
        [RDB_HASH_LISTPACK_EX] = OBJ_HASH,
    };
    return (size_t)type < sizeof(types) / sizeof(types[0]) ? types[type] : OBJ_STRING;
}

static bool load(struct rdb_load *l, enum rdb_type type)
{
    switch (type) {
    case RDB_STRING:
        return rdb_read_string(l->r, &l->value->string);
    case RDB_LIST:
        return rdb_load_list(l);
    case RDB_SET:
        return load_set(l);
    case RDB_HASH:
        return load_hash(l);
    case RDB_ZSET:
    case RDB_ZSET_2:
        return rdb_load_zset(l, type == RDB_ZSET);
    case RDB_HASH_ZIPMAP:
        return load_zipmap(l);
    case RDB_LIST_ZIPLIST:
        return rdb_list_of(l, rdb_read_ziplist(l->r, 1));
    case RDB_SET_INTSET:
        return load_intset(l);
    case RDB_ZSET_ZIPLIST:
        return rdb_zset_of(l, rdb_read_ziplist(l->r, 2));
    case RDB_HASH_ZIPLIST:
        return rdb_hash_of(l, rdb_read_ziplist(l->r, 2));
    case RDB_LIST_QUICKLIST:
    case RDB_LIST_QUICKLIST_2:
        return rdb_load_quicklist(l, type);
    case RDB_STREAM:
    case RDB_STREAM_2:
    case RDB_STREAM_3:
        return rdb_load_stream(l, type);
    case RDB_HASH_LISTPACK:
        return rdb_hash_of(l, rdb_read_listpack(l->r, 2, false));
    case RDB_ZSET_LISTPACK:
        return rdb_zset_of(l, rdb_read_listpack(l->r, 2, false));
    case RDB_SET_LISTPACK:
        return rdb_set_of(l, rdb_read_listpack(l->r, 1, false));
    case RDB_HASH_METADATA_PRE_GA:
    case RDB_HASH_METADATA:
        return load_volatile_hash(l, type == RDB_HASH_METADATA_PRE_GA);
    case RDB_HASH_LISTPACK_EX_PRE_GA:
    case RDB_HASH_LISTPACK_EX:
        return load_volatile_listpack(l, type == RDB_HASH_LISTPACK_EX_PRE_GA);
    }
    return rdb_bad(l->r);
}

bool rdb_read_value(struct rdb_reader *r, struct store *s, const struct rdb_limits *limits,
                    enum rdb_type type, struct rdb_value *value)
{
    *value = (struct rdb_value){.type = object_type_of(type)};
    struct rdb_load l = {.r = r, .s = s, .limits = limits, .value = value};
    if (load(&l, type) && !r->error)
        return true;
    rdb_bad(r);
    rdb_value_clear(value);
    return false;
}

struct entry *rdb_put_value(struct store *s, unsigned db, const struct key *key, struct entry *at,
                            struct rdb_value *value, int64_t expiry_ms)
{
    struct entry *e;
    if (value->type == OBJ_STRING) {
        struct arg arg = {value->string.ptr, value->string.len, value->string.block};
        e = store_set_string(s, db, key, at, &arg, expiry_ms, SET_INTEGER_TRY);
        if (e)
            rdb_string_clear(&value->string);
        return e;
    }
    e = store_put_object(s, db, key, at, value->type, value->encoding, value->object, expiry_ms);
    if (e)
        value->object = NULL;
    return e;
}

void rdb_value_clear(struct rdb_value *value)
{
    rdb_string_clear(&value->string);
    if (value->object)
        object_free(value->type, value->encoding, value->object);
    value->object = NULL;
}
