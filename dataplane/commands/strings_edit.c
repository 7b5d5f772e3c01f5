// Commands that change or read a part of a string, and those that count with it.
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/block.h"
#include "dataplane/commands/effects.h"
#include "dataplane/commands/lookup.h"
#include "dataplane/commands/strings_commands.h"

static size_t string_length(const struct entry *e)
{
    char scratch[24];
    return e ? entry_string(e, scratch).len : 0;
}

void strlen_command(struct request *r)
{
    struct key key = request_key(r, 1);
    struct entry *e = lookup_read(r, &key);
    if (lookup_type_is(r, e, OBJ_STRING))
        reply_integer(r->out, (int64_t)string_length(e));
}

// Writes argument i at `offset` and answers with the new length.
static void write_range(struct request *r, const struct key *key, struct entry *e, size_t offset,
                        int i, const char *event)
{
    const struct arg *value = &r->argv[i];
    e = store_write_range(r->store, r->session->db, key, e, offset, value->ptr, value->len);
    if (!e) {
        request_error(r, ERR_OOM);
        return;
    }
    request_changed(r, key, EVENT_STRING, event);
    reply_integer(r->out, (int64_t)string_length(e));
}

void append_command(struct request *r)
{
    struct key key = request_key(r, 1);
    struct entry *e = lookup_write(r, &key);
    if (!lookup_type_is(r, e, OBJ_STRING))
        return;
    if (e) {
        size_t len = string_length(e);
        if (strings_check_length(r, len, r->argv[2].len))
            write_range(r, &key, e, len, 2, "append");
    } else if (store_set_string(r->store, r->session->db, &key, NULL, &r->argv[2], -1,
                                SET_INTEGER_TRY)) {
        request_changed(r, &key, EVENT_STRING, "append");
        reply_integer(r->out, (int64_t)r->argv[2].len);
    } else {
        request_error(r, ERR_OOM);
    }
}

void setrange_command(struct request *r)
{
    int64_t offset;
    if (!request_integer(r, 2, &offset))
        return;
    if (offset < 0) {
        request_error(r, "ERR offset is out of range");
        return;
    }
    struct key key = request_key(r, 1);
    struct entry *e = lookup_write(r, &key);
    if (!lookup_type_is(r, e, OBJ_STRING))
        return;
    if (r->argv[3].len == 0) // writes nothing, not even the zeros up to the offset
        reply_integer(r->out, (int64_t)string_length(e));
    else if (strings_check_length(r, (uint64_t)offset, r->argv[3].len))
        write_range(r, &key, e, (size_t)offset, 3, "setrange");
}

// GETRANGE, and SUBSTR under its old name.
void getrange_command(struct request *r)
{
    int64_t start, end;
    if (!request_integer(r, 2, &start) || !request_integer(r, 3, &end))
        return;
    struct key key = request_key(r, 1);
    struct entry *e = lookup_read(r, &key);
    if (!lookup_type_is(r, e, OBJ_STRING))
        return;
    char scratch[24];
    struct string_view v = e ? entry_string(e, scratch) : (struct string_view){.ptr = NULL};
    int64_t len = (int64_t)v.len;
    bool backwards = start < 0 && end < 0 && start > end;
    if (start < 0)
        start = start + len < 0 ? 0 : start + len;
    if (end < 0)
        end = end + len < 0 ? 0 : end + len;
    if (end >= len)
        end = len - 1;
    if (backwards || start > end) {
        reply_bulk_string(r->out, "");
        return;
    }
    size_t n = (size_t)(end - start) + 1;
    if (v.block)
        reply_bulk_block(r->out, v.block, (size_t)(v.ptr - v.block->data) + (size_t)start, n);
    else
        reply_bulk(r->out, v.ptr + start, n);
}

// Adds to the integer of the key, which counts as 0 where there is none.
static void add_integer(struct request *r, int64_t increment)
{
    struct key key = request_key(r, 1);
    struct entry *e = lookup_write(r, &key);
    int64_t value = 0;
    if (!lookup_type_is(r, e, OBJ_STRING))
        return;
    if (e && !entry_integer(e, &value)) {
        request_error(r, ERR_NOT_INTEGER);
        return;
    }
    if (__builtin_add_overflow(value, increment, &value)) {
        request_error(r, "ERR increment or decrement would overflow");
        return;
    }
    if (!store_set_integer(r->store, r->session->db, &key, e, value, -1, SET_KEEP_TTL)) {
        request_error(r, ERR_OOM);
        return;
    }
    request_changed(r, &key, EVENT_STRING, "incrby");
    reply_integer(r->out, value);
}

void incr_command(struct request *r)
{
    add_integer(r, 1);
}

void decr_command(struct request *r)
{
    add_integer(r, -1);
}

void incrby_command(struct request *r)
{
    int64_t increment;
    if (request_integer(r, 2, &increment))
        add_integer(r, increment);
}

void decrby_command(struct request *r)
{
    int64_t decrement;
    if (!request_integer(r, 2, &decrement))
        return;
    if (decrement == INT64_MIN)
        request_error(r, "ERR decrement would overflow");
    else
        add_integer(r, -decrement);
}

bool strings_parse_float(const uint8_t *bytes, size_t len, long double *value)
{
    char text[STRING_FLOAT_MAX];
    if (len == 0 || len >= sizeof(text) || isspace(bytes[0]))
        return false;
    memcpy(text, bytes, len);
    text[len] = '\0';
    char *end;
    errno = 0;
    *value = strtold(text, &end);
    if (end != text + len || isnan(*value))
        return false;
    return errno != ERANGE || (!isinf(*value) && *value != 0);
}

size_t strings_format_float(char text[STRING_FLOAT_MAX], long double value)
{
    size_t n = (size_t)snprintf(text, STRING_FLOAT_MAX, "%.17Lf", value);
    while (text[n - 1] == '0')
        n--;
    if (text[n - 1] == '.')
        n--;
    if (n == 2 && memcmp(text, "-0", 2) == 0) {
        text[0] = '0';
        n = 1;
    }
    return n;
}

void incrbyfloat_command(struct request *r)
{
    struct key key = request_key(r, 1);
    struct entry *e = lookup_write(r, &key);
    long double value, increment;
    if (!lookup_type_is(r, e, OBJ_STRING))
        return;
    char scratch[24];
    struct string_view v = {.ptr = (const uint8_t *)"0", .len = 1};
    if (e)
        v = entry_string(e, scratch);
    if (!strings_parse_float(v.ptr, v.len, &value) ||
        !strings_parse_float(r->argv[2].ptr, r->argv[2].len, &increment)) {
        request_error(r, "ERR value is not a valid float");
        return;
    }
    value += increment;
    if (isnan(value) || isinf(value)) {
        request_error(r, "ERR increment would produce NaN or Infinity");
        return;
    }
    char text[STRING_FLOAT_MAX];
    struct arg result = {.ptr = (const uint8_t *)text, .len = strings_format_float(text, value)};
    if (!store_set_string(r->store, r->session->db, &key, e, &result, -1, SET_KEEP_TTL)) {
        request_error(r, ERR_OOM);
        return;
    }
    // The sum, and not the addition, which another machine may round in another way.
    if (effect_begin(r, "SET", 4)) {
        effect_arg(r, 1);
        effect_bytes(r, result.ptr, result.len);
        effect_text(r, "KEEPTTL");
    }
    request_changed(r, &key, EVENT_STRING, "incrbyfloat");
    reply_bulk(r->out, result.ptr, result.len);
}
