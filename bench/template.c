#include "bench/template.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 1024

void template_digits(uint8_t *to, uint64_t n)
{
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233"
        "34353637383940414243444546474849505152535455565758596061626364656667"
        "6869707172737475767778798081828384858687888990919293949596979899";
    uint32_t low = (uint32_t)(n % 1000000), high = (uint32_t)(n / 1000000);
    memcpy(to, pairs + (size_t)(high / 10000) * 2, 2);
    memcpy(to + 2, pairs + (size_t)(high / 100 % 100) * 2, 2);
    memcpy(to + 4, pairs + (size_t)(high % 100) * 2, 2);
    memcpy(to + 6, pairs + (size_t)(low / 10000) * 2, 2);
    memcpy(to + 8, pairs + (size_t)(low / 100 % 100) * 2, 2);
    memcpy(to + 10, pairs + (size_t)(low % 100) * 2, 2);
}

// A placeholder at `p`: its kind, the number behind its colon, and where it ends. NULL: it is none.
static const char *placeholder(const char *p, const char **name, size_t *name_len, uint64_t *number,
                               bool *has_number)
{
    const char *end = strchr(p, '}');
    if (*p != '{' || !end)
        return NULL;
    *name = p + 1;
    *name_len = strcspn(p + 1, ":}");
    const char *colon = p + 1 + *name_len;
    *has_number = *colon == ':';
    if (*has_number) {
        char *stop;
        errno = 0;
        *number = strtoull(colon + 1, &stop, 10);
        if (errno || stop == colon + 1 || stop != end || colon[1] == '-')
            return NULL;
    }
    return end + 1;
}

static bool is(const char *name, size_t len, const char *word)
{
    return strlen(word) == len && memcmp(name, word, len) == 0;
}

// The words of the request grow in here.
struct text {
    uint8_t *bytes;
    size_t len, room;
};

static bool add(struct text *t, const void *data, size_t len)
{
    if (t->len + len > TEMPLATE_BYTES_MAX)
        return false;
    if (!len)
        return true; // there may be no room at all yet
    if (t->len + len > t->room) {
        size_t room = 2 * (t->len + len) + 64;
        uint8_t *bytes = realloc(t->bytes, room);
        if (!bytes)
            return false;
        t->bytes = bytes;
        t->room = room;
    }
    assert(t->bytes);
    if (data)
        memcpy(t->bytes + t->len, data, len);
    else // a value: letters
        for (size_t i = 0; i < len; i++)
            t->bytes[t->len + i] = (uint8_t)('a' + i % 26);
    t->len += len;
    return true;
}

struct parsing {
    struct template *t;
    uint32_t data_size;
    uint64_t keys;
};

// One word, with its placeholders; holes are counted from its beginning. False: what is wrong is in
// `error`.
static bool parse_word(const struct parsing *c, const char *from, const char *to, struct text *word,
                       char *error, size_t error_size)
{
    struct template *t = c->t;
    for (const char *p = from; p < to;) {
        const char *name;
        size_t len;
        uint64_t number = 0;
        bool has_number;
        const char *end = placeholder(p, &name, &len, &number, &has_number);
        bool good = true;
        if (!end || end > to) {
            good = add(word, p++, 1);
        } else if (is(name, len, "data")) {
            good = add(word, NULL, has_number ? (size_t)number : c->data_size);
            p = end;
        } else if (is(name, len, "key") || is(name, len, "random") || is(name, len, "sequence")) {
            if (t->n_holes == TEMPLATE_HOLES_MAX)
                return snprintf(error, error_size, "--command: more than %d placeholders",
                                TEMPLATE_HOLES_MAX),
                       false;
            t->holes[t->n_holes].at = (uint32_t)word->len;
            t->holes[t->n_holes].kind = *name == 'k'   ? HOLE_KEY
                                        : *name == 'r' ? HOLE_RANDOM
                                                       : HOLE_SEQUENCE;
            t->holes[t->n_holes].below = has_number && number ? number : c->keys;
            t->n_holes++;
            good = add(word, "000000000000", TEMPLATE_DIGITS);
            p = end;
        } else {
            return snprintf(
                       error, error_size,
                       "--command: {%.*s} is no placeholder; there are key, random, sequence, data",
                       (int)len, name),
                   false;
        }
        if (!good)
            return snprintf(error, error_size, "--command: longer than %u bytes",
                            TEMPLATE_BYTES_MAX),
                   false;
    }
    return true;
}

bool template_parse(struct template *t, const char *line, uint32_t data_size, uint64_t keys,
                    uint64_t seed, char *error, size_t error_size)
{
    *t = (struct template){.state = seed * UINT64_C(0x2545f4914f6cdd1d) + 1};
    struct parsing c = {.t = t, .data_size = data_size, .keys = keys};
    struct text all = {0}, word = {0};
    unsigned words = 0;
    bool good = true;
    for (const char *p = line; good && *(p += strspn(p, " "));) {
        bool quoted = *p == '"';
        p += quoted;
        const char *end = p + strcspn(p, quoted ? "\"" : " ");
        if (quoted && !*end) {
            snprintf(error, error_size, "--command: a quote is not closed");
            good = false;
            break;
        }
        unsigned first = t->n_holes;
        word.len = 0;
        good = parse_word(&c, p, end, &word, error, error_size);
        char head[32];
        size_t head_len = (size_t)snprintf(head, sizeof(head), "$%zu\r\n", word.len);
        for (unsigned i = first; i < t->n_holes; i++)
            t->holes[i].at += (uint32_t)(all.len + head_len);
        if (good && (!add(&all, head, head_len) || (word.len && !add(&all, word.bytes, word.len)) ||
                     !add(&all, "\r\n", 2) || ++words > WORDS_MAX)) {
            snprintf(error, error_size, "--command: too long");
            good = false;
        }
        p = end + (quoted && *end);
    }
    if (good && !words) {
        snprintf(error, error_size, "--command: give the words of a command");
        good = false;
    }
    struct text request = {0};
    char head[32];
    size_t head_len = (size_t)snprintf(head, sizeof(head), "*%u\r\n", words);
    if (good && (!add(&request, head, head_len) || !add(&request, all.bytes, all.len))) {
        snprintf(error, error_size, "--command: too long");
        good = false;
    }
    for (unsigned i = 0; i < t->n_holes; i++)
        t->holes[i].at += (uint32_t)head_len;
    free(all.bytes);
    free(word.bytes);
    t->bytes = request.bytes;
    t->size = (uint32_t)request.len;
    if (!good)
        template_free(t);
    return good;
}

void template_free(struct template *t)
{
    free(t->bytes);
    t->bytes = NULL;
}

static uint64_t draw(struct template *t, uint64_t below)
{
    uint64_t x = t->state;
    x ^= x << 13;
    x ^= x >> 7;
    t->state = x ^= x << 17;
    return (uint64_t)((unsigned __int128)x * below >> 64);
}

void template_write(struct template *t, struct out *out, uint64_t key)
{
    bool direct = t->size <= OUT_CONTIGUOUS_MAX;
    uint8_t *to = t->bytes;
    if (direct) {
        to = out_room(out, t->size);
        memcpy(to, t->bytes, t->size);
    }
    for (unsigned i = 0; i < t->n_holes; i++) {
        uint64_t n = key;
        if (t->holes[i].kind == HOLE_RANDOM)
            n = draw(t, t->holes[i].below);
        else if (t->holes[i].kind == HOLE_SEQUENCE)
            n = t->sequence++;
        template_digits(to + t->holes[i].at, n);
    }
    if (direct)
        out->pos += t->size;
    else
        out_write(out, t->bytes, t->size);
}
