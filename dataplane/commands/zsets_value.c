#include "dataplane/commands/zsets_value.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <mimalloc.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/commands/lookup.h"

enum {
    NUMBER_TEXT_MAX = 255, // numbers longer than this are read from memory of their own
    PLAIN_DIGITS_MAX = 15, // integers that a double holds exactly
};
static const double PLAIN_MAX = 1e15;

static bool open_entry(struct request *r, struct zkey *z, struct entry *e)
{
    z->r = r;
    z->entry = NULL;
    if (!lookup_type_is(r, e, OBJ_ZSET))
        return false;
    z->entry = e;
    if (e)
        z->set = sorted_of(r->store, e);
    return true;
}

bool zkey_open_read(struct request *r, int i, struct zkey *z)
{
    z->key = request_key(r, i);
    return open_entry(r, z, lookup_read(r, &z->key));
}

bool zkey_open_write(struct request *r, int i, struct zkey *z)
{
    z->key = request_key(r, i);
    return open_entry(r, z, lookup_write(r, &z->key));
}

void zkey_edit(struct zkey *z)
{
    z->edit = edit_begin(z->r->store, z->r->session->db, &z->key, z->entry);
}

void zkey_edit_end(struct zkey *z, uint64_t changes, const char *event)
{
    z->edit.object = z->set.object;
    z->edit.encoding = z->set.encoding;
    bool stays = edit_end(&z->edit, changes);
    if (!changes)
        return;
    request_changed(z->r, &z->key, EVENT_ZSET, event);
    if (!stays)
        request_changed(z->r, &z->key, EVENT_GENERIC, "del");
}

bool zkey_store(struct request *r, int i, struct sorted *set, const char *event)
{
    struct key key = request_key(r, i);
    struct entry *e = lookup_write(r, &key);
    if (!sorted_count(set)) {
        sorted_free(set);
        if (e && store_delete(r->store, r->session->db, &key))
            request_changed(r, &key, EVENT_GENERIC, "del");
        return true;
    }
    if (!store_put_object(r->store, r->session->db, &key, e, OBJ_ZSET, set->encoding, set->object,
                          -1)) {
        sorted_free(set);
        request_error(r, ERR_OOM);
        return false;
    }
    request_changed(r, &key, EVENT_ZSET, event);
    return true;
}

// --- numbers ------------------------------------------------------------------------------------

// The number at the start of a text; `*end` is how far it goes. A zero byte ends the text. False:
// memory is short.
static bool read_number(const uint8_t *text, size_t len, double *value, size_t *end)
{
    char buffer[NUMBER_TEXT_MAX + 1];
    char *copy = len <= NUMBER_TEXT_MAX ? buffer : mi_malloc(len + 1), *stop;
    if (!copy)
        return false;
    if (len)
        memcpy(copy, text, len);
    copy[len] = '\0';
    *value = strtod(copy, &stop);
    *end = (size_t)(stop - copy);
    if (copy != buffer)
        mi_free(copy);
    return true;
}

static bool parse_number(const struct arg *a, double *value)
{
    // Digits alone, leading zeros too, after a sign or none.
    if (a->len && a->len <= PLAIN_DIGITS_MAX) {
        bool minus = a->ptr[0] == '-';
        int64_t whole = 0;
        size_t i = minus;
        for (; i < a->len && (uint8_t)(a->ptr[i] - '0') <= 9; i++)
            whole = whole * 10 + (a->ptr[i] - '0');
        if (i == a->len && (whole || !minus)) { // "-0" is another number than 0, "-" is none
            *value = (double)(minus ? -whole : whole);
            return true;
        }
    }
    size_t end;
    errno = 0;
    if (!a->len || isspace(a->ptr[0]) || !read_number(a->ptr, a->len, value, &end) || end != a->len)
        return false;
    if (errno == ERANGE && (isinf(*value) || fpclassify(*value) == FP_ZERO))
        return false;
    return !isnan(*value);
}

bool zset_parse_score(struct request *r, int i, double *score, const char *error)
{
    if (parse_number(&r->argv[i], score))
        return true;
    request_error(r, error);
    return false;
}

// Bounds are read less strictly than scores: with spaces before them, up to a zero byte, and
// nothing at all is 0.
static bool parse_bound(const struct arg *a, double *value, bool *exclusive)
{
    const uint8_t *text = a->ptr;
    size_t len = a->len, end;
    *exclusive = len && *text == '(';
    if (*exclusive) {
        text++;
        len--;
    }
    return read_number(text, len, value, &end) && (end == len || !text[end]) && !isnan(*value);
}

bool zset_parse_score_range(struct request *r, int min, int max, struct score_range *range)
{
    if (parse_bound(&r->argv[min], &range->min, &range->min_exclusive) &&
        parse_bound(&r->argv[max], &range->max, &range->max_exclusive))
        return true;
    request_error(r, ERR_SCORE_RANGE);
    return false;
}

static bool parse_lex_bound(const struct arg *a, struct lex_bound *b)
{
    bool alone = a->len == 1 || (a->len && !a->ptr[1]);
    switch (a->len ? a->ptr[0] : 0) {
    case '-':
        b->kind = LEX_LOWEST;
        return alone;
    case '+':
        b->kind = LEX_HIGHEST;
        return alone;
    case '[':
        b->kind = LEX_INCLUSIVE;
        break;
    case '(':
        b->kind = LEX_EXCLUSIVE;
        break;
    default:
        return false;
    }
    b->ptr = a->ptr + 1;
    b->len = a->len - 1;
    return true;
}

bool zset_parse_lex_range(struct request *r, int min, int max, struct lex_range *range)
{
    if (parse_lex_bound(&r->argv[min], &range->min) && parse_lex_bound(&r->argv[max], &range->max))
        return true;
    request_error(r, ERR_LEX_RANGE);
    return false;
}

bool zset_parse_at_least(struct request *r, int i, int64_t least, int64_t *value, const char *error)
{
    if (parse_int64(r->argv[i].ptr, r->argv[i].len, value) && *value >= least)
        return true;
    request_error(r, error);
    return false;
}

// --- replies ------------------------------------------------------------------------------------

void zset_reply_score(struct request *r, double score)
{
    // Most scores are whole, and printed so at far less cost.
    if (!(fabs(score) < PLAIN_MAX) || score != trunc(score) || (score == 0 && signbit(score))) {
        reply_double(r->out, r->session->resp, score);
    } else if (r->session->resp < 3) {
        reply_bulk_integer(r->out, (int64_t)score);
    } else {
        char *text = (char *)out_room(r->out, 24);
        text[0] = ',';
        unsigned n = 1 + format_int64(text + 1, (int64_t)score);
        text[n++] = '\r';
        text[n++] = '\n';
        r->out->pos += n;
    }
}

void zset_reply_item(struct request *r, const struct sorted_item *item, bool score, bool nested)
{
    if (nested)
        reply_array(r->out, 2);
    reply_bulk(r->out, item->ptr, item->len);
    if (score)
        zset_reply_score(r, item->score);
}
