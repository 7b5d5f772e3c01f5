// BITFIELD: integers of 1 to 64 bits at any bit of a string.
//
// The arguments are read twice: first all of them are checked, and the furthest bit that is written
// is found; then they are carried out.
#include <string.h>

#include "dataplane/commands/bitmaps_commands.h"
#include "dataplane/commands/lookup.h"

#define FIELD_BYTES_MAX 9 // that 64 bits touch which do not start with a byte

enum overflow { OVERFLOW_WRAP, OVERFLOW_SAT, OVERFLOW_FAIL };

struct field {
    uint64_t offset; // of its first bit
    unsigned bits;
    bool is_signed;
};

struct operation {
    enum { FIELD_GET, FIELD_SET, FIELD_INCRBY } kind;
    enum overflow overflow;
    struct field field;
    int64_t operand;
};

// --- arguments ----------------------------------------------------------------------------------

static bool parse_type(struct request *r, int i, struct field *f)
{
    const struct arg *a = &r->argv[i];
    int64_t bits;
    f->is_signed = a->len && a->ptr[0] == 'i';
    if (a->len && (f->is_signed || a->ptr[0] == 'u') &&
        parse_int64(a->ptr + 1, a->len - 1, &bits) && bits >= 1 &&
        bits <= (f->is_signed ? 64 : 63)) {
        f->bits = (unsigned)bits;
        return true;
    }
    request_error(r, "ERR Invalid bitfield type. Use something like i16 u8. "
                     "Note that u64 is not supported but i64 is.");
    return false;
}

static bool parse_overflow(struct request *r, int i, enum overflow *overflow)
{
    static const char *const names[] = {"wrap", "sat", "fail"};
    for (unsigned k = 0; k < 3; k++)
        if (request_is(r, i, names[k])) {
            *overflow = (enum overflow)k;
            return true;
        }
    request_error(r, "ERR Invalid OVERFLOW type specified");
    return false;
}

enum parsed { PARSED_OPERATION, PARSED_END, PARSED_ERROR };

// The next operation from argument *i on. `op` comes with the overflow that was last chosen.
// Answers with PARSED_ERROR only.
static enum parsed next_operation(struct request *r, int *i, struct operation *op)
{
    while (*i < r->argc) {
        int left = r->argc - *i - 1; // arguments behind the name
        if (left >= 1 && request_is(r, *i, "overflow")) {
            if (!parse_overflow(r, *i + 1, &op->overflow))
                return PARSED_ERROR;
            *i += 2;
            continue;
        }
        if (left >= 2 && request_is(r, *i, "get")) {
            op->kind = FIELD_GET;
        } else if (left >= 3 && request_is(r, *i, "set")) {
            op->kind = FIELD_SET;
        } else if (left >= 3 && request_is(r, *i, "incrby")) {
            op->kind = FIELD_INCRBY;
        } else {
            request_error(r, ERR_SYNTAX);
            return PARSED_ERROR;
        }
        if (!parse_type(r, *i + 1, &op->field) ||
            !bitmaps_parse_offset(r, *i + 2, op->field.bits, &op->field.offset))
            return PARSED_ERROR;
        if (op->kind != FIELD_GET && !request_integer(r, *i + 3, &op->operand))
            return PARSED_ERROR;
        *i += op->kind == FIELD_GET ? 3 : 4;
        return PARSED_OPERATION;
    }
    return PARSED_END;
}

// --- fields -------------------------------------------------------------------------------------

// The bytes that a field lies in, as far as the string has them; the others are zero. Returns how
// many they are.
static size_t load_field(const struct string_view *v, const struct field *f,
                         uint8_t bytes[FIELD_BYTES_MAX])
{
    size_t at = (size_t)(f->offset >> 3), n = (size_t)((f->offset & 7) + f->bits + 7) / 8;
    memset(bytes, 0, FIELD_BYTES_MAX);
    if (at < v->len)
        memcpy(bytes, v->ptr + at, v->len - at < n ? v->len - at : n);
    return n;
}

// The integer in those bytes, its sign extended.
static uint64_t get_field(const uint8_t bytes[FIELD_BYTES_MAX], const struct field *f)
{
    uint64_t head;
    memcpy(&head, bytes, sizeof(head));
    unsigned skip = (unsigned)(f->offset & 7);
    __uint128_t all = (__uint128_t)__builtin_bswap64(head) << 64 | (__uint128_t)bytes[8] << 56;
    uint64_t value = (uint64_t)(all << skip >> 64); // the field at its upper end
    return f->is_signed ? (uint64_t)((int64_t)value >> (64 - f->bits)) : value >> (64 - f->bits);
}

static void set_field(uint8_t bytes[FIELD_BYTES_MAX], const struct field *f, uint64_t value)
{
    unsigned skip = (unsigned)(f->offset & 7), shift = 128 - skip - f->bits;
    __uint128_t mask = (__uint128_t)(UINT64_MAX >> (64 - f->bits)) << shift;
    __uint128_t bits = (__uint128_t)value << shift & mask;
    for (unsigned i = 0; i < FIELD_BYTES_MAX; i++) {
        unsigned down = 120 - 8 * i;
        bytes[i] = (uint8_t)((bytes[i] & ~(uint8_t)(mask >> down)) | (uint8_t)(bits >> down));
    }
}

// --- overflow -----------------------------------------------------------------------------------

// Adds for both kinds of field. The sum is what is to be stored when it wraps or fits; with SAT it
// is the limit. Returns whether it overflows.
//
// SET comes here with an increment of 0 and a value that may lie far outside of the field. The
// differences below then wrap as they do in Redis: such a value may count as beyond the other end.
static bool add_unsigned(const struct operation *op, uint64_t value, int64_t increment,
                         uint64_t *sum)
{
    uint64_t max = UINT64_MAX >> (64 - op->field.bits);
    int64_t up = (int64_t)(max - value), down = (int64_t)-value;
    *sum = (value + (uint64_t)increment) & max;
    if (value > max || (increment > 0 && increment > up)) {
        if (op->overflow == OVERFLOW_SAT)
            *sum = max;
        return true;
    }
    if (increment < 0 && increment < down) {
        if (op->overflow == OVERFLOW_SAT)
            *sum = 0;
        return true;
    }
    return false;
}

static bool add_signed(const struct operation *op, int64_t value, int64_t increment, uint64_t *sum)
{
    unsigned bits = op->field.bits;
    int64_t max = INT64_MAX >> (64 - bits), min = -max - 1;
    int64_t up = (int64_t)((uint64_t)max - (uint64_t)value);
    int64_t down = (int64_t)((uint64_t)min - (uint64_t)value);
    uint64_t wrapped = (uint64_t)value + (uint64_t)increment;
    *sum = (uint64_t)((int64_t)(wrapped << (64 - bits)) >> (64 - bits));
    if (value > max || (bits != 64 && increment > up) ||
        (value >= 0 && increment > 0 && increment > up)) {
        if (op->overflow == OVERFLOW_SAT)
            *sum = (uint64_t)max;
        return true;
    }
    if (value < min || (bits != 64 && increment < down) ||
        (value < 0 && increment < 0 && increment < down)) {
        if (op->overflow == OVERFLOW_SAT)
            *sum = (uint64_t)min;
        return true;
    }
    return false;
}

// --- carrying out -------------------------------------------------------------------------------

static struct string_view view_of(const struct entry *e, char scratch[24])
{
    return e ? entry_string(e, scratch) : (struct string_view){0};
}

// Reads, changes and answers one field of an open string. True when the string is another now.
// `*done`: it was not left out for its overflow.
static bool change_field(struct request *r, const struct key *key, struct entry **e,
                         const struct operation *op, bool *done)
{
    char scratch[24];
    uint8_t bytes[FIELD_BYTES_MAX];
    struct string_view v = view_of(*e, scratch);
    size_t n = load_field(&v, &op->field, bytes);
    uint64_t before = get_field(bytes, &op->field), after;
    uint64_t base = op->kind == FIELD_SET ? (uint64_t)op->operand : before;
    int64_t increment = op->kind == FIELD_SET ? 0 : op->operand;
    bool over = op->field.is_signed ? add_signed(op, (int64_t)base, increment, &after)
                                    : add_unsigned(op, base, increment, &after);
    if (over && op->overflow == OVERFLOW_FAIL) {
        reply_null(r->out, r->session->resp);
        return false;
    }
    *done = true;
    reply_integer(r->out, (int64_t)(op->kind == FIELD_SET ? before : after));
    if (before == after)
        return false;
    set_field(bytes, &op->field, after);
    size_t at = (size_t)(op->field.offset >> 3);
    struct entry *changed = store_write_range(r->store, r->session->db, key, *e, at, bytes, n);
    if (changed)
        *e = changed;
    else
        r->out->failed = true; // the answer has begun and cannot be taken back
    return changed != NULL;
}

static void answer_field(struct request *r, const struct entry *e, const struct operation *op)
{
    char scratch[24];
    uint8_t bytes[FIELD_BYTES_MAX];
    struct string_view v = view_of(e, scratch);
    load_field(&v, &op->field, bytes);
    reply_integer(r->out, (int64_t)get_field(bytes, &op->field));
}

static void bitfield(struct request *r, bool may_write)
{
    struct operation op = {.overflow = OVERFLOW_WRAP};
    enum parsed parsed;
    int64_t n = 0;
    uint64_t furthest = 0;
    bool writes = false, grown = false, changed = false, done = false;
    int i = 2;
    while ((parsed = next_operation(r, &i, &op)) == PARSED_OPERATION) {
        uint64_t last = op.field.offset + op.field.bits - 1;
        n++;
        if (op.kind == FIELD_GET)
            continue;
        writes = true;
        if (furthest < last)
            furthest = last;
    }
    if (parsed == PARSED_ERROR)
        return;
    if (writes && !may_write) {
        request_error(r, "ERR BITFIELD_RO only supports the GET subcommand");
        return;
    }
    struct key key = request_key(r, 1);
    struct entry *e = writes ? lookup_write(r, &key) : lookup_read(r, &key);
    if (!lookup_type_is(r, e, OBJ_STRING))
        return;
    if (writes && !(e = bitmaps_open(r, &key, e, furthest, &grown))) {
        request_error(r, ERR_OOM);
        return;
    }
    reply_array(r->out, n);
    op.overflow = OVERFLOW_WRAP;
    for (i = 2; next_operation(r, &i, &op) == PARSED_OPERATION;) {
        if (op.kind == FIELD_GET)
            answer_field(r, e, &op);
        else
            changed |= change_field(r, &key, &e, &op, &done);
    }
    if (changed || grown) // that it grew for what was left out then is no event in Redis
        request_changed(r, &key, done ? EVENT_STRING : EVENT_NONE, "setbit");
}

void bitfield_command(struct request *r)
{
    bitfield(r, true);
}

void bitfield_ro_command(struct request *r)
{
    bitfield(r, false);
}
