// LCS: the longest common subsequence of two strings, by the textbook table of lengths. Where
// several subsequences are equally long, the walk back through the table decides as Redis's does.
#include <mimalloc.h>

#include "dataplane/commands/lookup.h"
#include "dataplane/commands/strings_commands.h"

struct lcs {
    struct string_view a, b;
    uint32_t *lengths; // [i * (b.len + 1) + j]: of the first i bytes of a and j bytes of b
    bool len, idx, with_match_len;
    int64_t min_match_len;
};

static uint32_t length_at(const struct lcs *l, size_t i, size_t j)
{
    return l->lengths[i * (l->b.len + 1) + j];
}

static bool parse_options(struct request *r, struct lcs *l)
{
    for (int i = 3; i < r->argc; i++) {
        if (request_is(r, i, "idx")) {
            l->idx = true;
        } else if (request_is(r, i, "len")) {
            l->len = true;
        } else if (request_is(r, i, "withmatchlen")) {
            l->with_match_len = true;
        } else if (request_is(r, i, "minmatchlen") && i + 1 < r->argc) {
            if (!request_integer(r, ++i, &l->min_match_len))
                return false;
        } else {
            request_error(r, ERR_SYNTAX);
            return false;
        }
    }
    if (l->idx && l->len) {
        request_error(r, "ERR If you want both the length and indexes, please just use IDX.");
        return false;
    }
    return true;
}

// Memory for the table, at most proto-max-bulk-len bytes, as the answer may not be longer either.
static bool allocate_table(struct request *r, struct lcs *l)
{
    if (l->a.len >= UINT32_MAX - 1 || l->b.len >= UINT32_MAX - 1) {
        request_error(r, "ERR String too long for LCS");
        return false;
    }
    uint64_t cells = ((uint64_t)l->a.len + 1) * ((uint64_t)l->b.len + 1), bytes;
    if (__builtin_mul_overflow(cells, sizeof(*l->lengths), &bytes) ||
        bytes > strings_length_max(r)) {
        request_error(
            r, "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
        return false;
    }
    l->lengths = mi_malloc(bytes);
    if (!l->lengths) {
        request_error(r, "ERR Insufficient memory, failed allocating transient memory for LCS");
        return false;
    }
    return true;
}

static void fill_table(struct lcs *l)
{
    size_t width = l->b.len + 1;
    memset(l->lengths, 0, width * sizeof(*l->lengths));
    for (size_t i = 1; i <= l->a.len; i++) {
        const uint32_t *above = l->lengths + (i - 1) * width;
        uint32_t *row = l->lengths + i * width;
        uint8_t byte = l->a.ptr[i - 1];
        row[0] = 0;
        for (size_t j = 1; j < width; j++) {
            if (byte == l->b.ptr[j - 1])
                row[j] = above[j - 1] + 1;
            else
                row[j] = above[j] > row[j - 1] ? above[j] : row[j - 1];
        }
    }
}

// A run of bytes that both strings share: it ends before byte a_end of a and b_end of b.
struct match {
    size_t a_end, b_end, len;
};

// The next run of the subsequence, walking back from (*i, *j). False: there is none.
static bool next_match(const struct lcs *l, size_t *i, size_t *j, struct match *m)
{
    while (*i && *j && l->a.ptr[*i - 1] != l->b.ptr[*j - 1]) {
        if (length_at(l, *i - 1, *j) > length_at(l, *i, *j - 1))
            --*i;
        else
            --*j;
    }
    *m = (struct match){.a_end = *i, .b_end = *j};
    while (*i && *j && l->a.ptr[*i - 1] == l->b.ptr[*j - 1]) {
        --*i;
        --*j;
        m->len++;
    }
    return m->len > 0;
}

static bool match_counts(const struct lcs *l, const struct match *m)
{
    return l->min_match_len <= 0 || m->len >= (uint64_t)l->min_match_len;
}

static void reply_range(struct request *r, size_t end, size_t len)
{
    reply_array(r->out, 2);
    reply_integer(r->out, (int64_t)(end - len));
    reply_integer(r->out, (int64_t)(end - 1));
}

static void reply_indexes(struct request *r, const struct lcs *l)
{
    struct match m;
    int64_t n = 0;
    for (size_t i = l->a.len, j = l->b.len; next_match(l, &i, &j, &m);)
        n += match_counts(l, &m);
    reply_map(r->out, r->session->resp, 2);
    reply_bulk_string(r->out, "matches");
    reply_array(r->out, n);
    for (size_t i = l->a.len, j = l->b.len; next_match(l, &i, &j, &m);) {
        if (!match_counts(l, &m))
            continue;
        reply_array(r->out, l->with_match_len ? 3 : 2);
        reply_range(r, m.a_end, m.len);
        reply_range(r, m.b_end, m.len);
        if (l->with_match_len)
            reply_integer(r->out, (int64_t)m.len);
    }
    reply_bulk_string(r->out, "len");
    reply_integer(r->out, length_at(l, l->a.len, l->b.len));
}

static void reply_subsequence(struct request *r, const struct lcs *l)
{
    size_t len = length_at(l, l->a.len, l->b.len), at = len;
    uint8_t *text = mi_malloc(len + 1);
    if (!text) {
        request_error(r, ERR_OOM);
        return;
    }
    struct match m;
    for (size_t i = l->a.len, j = l->b.len; next_match(l, &i, &j, &m);) {
        at -= m.len;
        memcpy(text + at, l->a.ptr + m.a_end - m.len, m.len);
    }
    reply_bulk(r->out, text, len);
    mi_free(text);
}

void lcs_command(struct request *r)
{
    struct key keys[2] = {request_key(r, 1), request_key(r, 2)};
    const struct entry *a = lookup_read(r, &keys[0]), *b = lookup_read(r, &keys[1]);
    if ((a && entry_type(a) != OBJ_STRING) || (b && entry_type(b) != OBJ_STRING)) {
        request_error(r, "ERR The specified keys must contain string values");
        return;
    }
    char scratch[2][24];
    struct lcs l = {.lengths = NULL};
    if (a)
        l.a = entry_string(a, scratch[0]);
    if (b)
        l.b = entry_string(b, scratch[1]);
    if (!parse_options(r, &l) || !allocate_table(r, &l))
        return;
    fill_table(&l);
    if (l.idx)
        reply_indexes(r, &l);
    else if (l.len)
        reply_integer(r->out, length_at(&l, l.a.len, l.b.len));
    else
        reply_subsequence(r, &l);
    mi_free(l.lengths);
}
