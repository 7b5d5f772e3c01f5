#include "bench/template.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/slot.h"

// --- parsing -----------------------------------------------------------------------------------

struct text {
    uint8_t *bytes;
    size_t len, room;
};

struct parser {
    struct template *t;
    const struct template_context *context;
    struct text words;   // of the present command, with their headers
    struct text request; // the commands before it
    unsigned n_words;    // of the present command
    unsigned all_words;
    unsigned first_hole, first_varying; // of the present command
    char *error;
    size_t error_size;
};

__attribute__((format(printf, 2, 3))) static bool fail(struct parser *p, const char *format, ...)
{
    int n = snprintf(p->error, p->error_size, "--command: ");
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(p->error + n, p->error_size - (size_t)n, format, arguments);
    va_end(arguments);
    return false;
}

static bool add(struct parser *p, struct text *t, const void *data, size_t len)
{
    if (t->len + len > TEMPLATE_BYTES_MAX)
        return fail(p, "longer than %u bytes", TEMPLATE_BYTES_MAX);
    if (t->len + len > t->room) {
        size_t room = 2 * (t->len + len) + 64;
        uint8_t *bytes = realloc(t->bytes, room);
        if (!bytes)
            return fail(p, "out of memory");
        t->bytes = bytes;
        t->room = room;
    }
    if (data && len)
        memcpy(t->bytes + t->len, data, len);
    else // a value: letters
        for (size_t i = 0; i < len; i++)
            t->bytes[t->len + i] = (uint8_t)('a' + i % 26);
    t->len += len;
    return true;
}

static struct template_hole *add_hole(struct parser *p, enum template_kind kind, size_t at)
{
    struct template *t = p->t;
    if (t->n_holes == TEMPLATE_HOLES_MAX) {
        fail(p, "more than %d placeholders", TEMPLATE_HOLES_MAX);
        return NULL;
    }
    t->holes[t->n_holes] = (struct template_hole){
        .kind = kind, .at = (uint32_t)at, .word = p->all_words, .digits = TEMPLATE_DIGITS};
    return &t->holes[t->n_holes++];
}

static unsigned digits_of(uint64_t n)
{
    unsigned digits = 1;
    for (; n >= 10; n /= 10)
        digits++;
    return digits;
}

// A whole number of at most twelve digits up to `end`; *next is where it ends.
static bool number(const char *from, const char *end, uint64_t *n, const char **next)
{
    *n = 0;
    for (*next = from; *next < end && **next >= '0' && **next <= '9'; ++*next)
        if ((*n = *n * 10 + (uint64_t)(**next - '0')) >= OPTIONS_KEYS_MAX)
            return false;
    return *next > from;
}

static bool add_digits(struct parser *p, struct text *word, unsigned digits)
{
    return add(p, word, "000000000000", digits);
}

static bool place_data(struct parser *p, struct text *word, const char *argument, size_t len)
{
    struct options_sizes sizes = *p->context->data;
    if (argument && !values_parse(&sizes, argument, len))
        return fail(p, "{data:%.*s}: give a number of bytes, as 64, 10-200 or 64:9,1024:1",
                    (int)len, argument);
    struct values v;
    values_init(&v, &sizes);
    if (v.fixed && !p->context->verify)
        return add(p, word, NULL, v.low);
    struct template_hole *hole = add_hole(p, HOLE_DATA, word->len);
    if (!hole)
        return false;
    hole->sizes = malloc(sizeof(v));
    if (!hole->sizes)
        return fail(p, "out of memory");
    *hole->sizes = v;
    return !v.fixed || add(p, word, NULL, v.low);
}

// {random:N}, {field:N}: N is how many numbers there are.
static bool place_draw(struct parser *p, struct text *word, const char *name, const char *argument,
                       size_t len)
{
    uint64_t n = p->context->keys;
    const char *next = argument;
    if (argument && (!number(argument, argument + len, &n, &next) || next != argument + len || !n))
        return fail(p, "{%s:%.*s}: give a number from 1 to 999999999999", name, (int)len, argument);
    struct template_hole *hole = add_hole(p, HOLE_DRAW, word->len);
    if (!hole)
        return false;
    hole->n = n;
    if (name[0] == 'f')
        hole->digits = (uint8_t)digits_of(n - 1);
    return add_digits(p, word, hole->digits);
}

static bool place_number(struct parser *p, struct text *word, const char *argument, size_t len)
{
    uint64_t low, high;
    const char *end = argument ? argument + len : NULL, *next;
    if (!end || !number(argument, end, &low, &next) || next == end || *next != '-' ||
        !number(next + 1, end, &high, &next) || next != end || high < low)
        return fail(p, "{number:A-B}: give two numbers, as in {number:1-100}");
    bool even = digits_of(low) == digits_of(high);
    struct template_hole *hole = add_hole(p, even ? HOLE_DRAW : HOLE_NUMBER, word->len);
    if (!hole)
        return false;
    hole->low = low;
    hole->n = high - low + 1;
    hole->digits = (uint8_t)digits_of(low);
    return !even || add_digits(p, word, hole->digits);
}

static bool is(const char *name, size_t len, const char *word)
{
    return strlen(word) == len && memcmp(name, word, len) == 0;
}

// What stands between a brace and `end`, the brace that closes.
static bool placeholder(struct parser *p, struct text *word, const char *from, const char *end)
{
    size_t all = (size_t)(end - from);
    const char *colon = memchr(from, ':', all);
    size_t len = colon ? (size_t)(colon - from) : all;
    const char *argument = colon ? colon + 1 : NULL;
    size_t argument_len = colon ? (size_t)(end - argument) : 0;
    if (is(from, len, "data"))
        return place_data(p, word, argument, argument_len);
    if (is(from, len, "random"))
        return place_draw(p, word, "random", argument, argument_len);
    if (is(from, len, "field") && colon)
        return place_draw(p, word, "field", argument, argument_len);
    if (is(from, len, "number"))
        return place_number(p, word, argument, argument_len);
    if (is(from, all, "key"))
        return add_hole(p, HOLE_KEY, word->len) && add_digits(p, word, TEMPLATE_DIGITS);
    if (is(from, all, "sequence"))
        return add_hole(p, HOLE_SEQUENCE, word->len) && add_digits(p, word, TEMPLATE_DIGITS);
    if (is(from, all, "expire")) {
        char text[16];
        int n = snprintf(text, sizeof(text), "%u", p->context->expire_s);
        return add(p, word, text, (size_t)n);
    }
    return fail(p,
                "{%.*s} is no placeholder; there are key, random, sequence, field:N, number:A-B, "
                "expire, data (write {{ for a brace)",
                (int)(all < 32 ? all : 32), from);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

// After a backslash in quotes: the byte it means; *from is moved on.
static char escaped(const char **from)
{
    char c = *(*from)++;
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'x':
        if (hex_digit((*from)[0]) >= 0 && hex_digit((*from)[1]) >= 0) {
            c = (char)(hex_digit((*from)[0]) * 16 + hex_digit((*from)[1]));
            *from += 2;
        }
        return c;
    default:
        return c;
    }
}

// Reads one word into `word`; *from is moved behind it.
static bool read_word(struct parser *p, const char **from, struct text *word)
{
    const char *c = *from;
    bool quoted = *c == '"';
    c += quoted;
    while (*c && *c != (quoted ? '"' : ' ')) {
        if (quoted && *c == '\\' && c[1]) {
            c++;
            char byte = escaped(&c);
            if (!add(p, word, &byte, 1))
                return false;
        } else if (*c == '{' && c[1] != '{') {
            const char *end = strchr(c, '}');
            if (!end)
                return fail(p, "a brace is not closed (write {{ for a brace)");
            if (!placeholder(p, word, c + 1, end))
                return false;
            c = end + 1;
        } else {
            bool brace = (*c == '{' || *c == '}') && c[1] == *c;
            if (!add(p, word, c, 1))
                return false;
            c += 1 + brace;
        }
    }
    if (quoted && !*c)
        return fail(p, "a quote is not closed");
    *from = c + quoted;
    return true;
}

static bool is_varying(const struct template_hole *h)
{
    return h->kind == HOLE_NUMBER || (h->kind == HOLE_DATA && !h->sizes->fixed);
}

static bool add_varying(struct parser *p, size_t at, size_t len)
{
    struct template *t = p->t;
    if (t->n_varying % 16 == 0) {
        void *more = realloc(t->varying, (t->n_varying + 16) * sizeof(*t->varying));
        if (!more)
            return fail(p, "out of memory");
        t->varying = more;
    }
    t->varying[t->n_varying++] =
        (struct template_word){.word = p->all_words, .at = (uint32_t)at, .len = (uint32_t)len};
    return true;
}

// Appends a word, whose holes are those from `first` on, to the present command.
static bool add_word(struct parser *p, const struct text *word, unsigned first)
{
    struct template *t = p->t;
    bool varies = false, only_key = true, key = false;
    for (unsigned i = first; i < t->n_holes; i++) {
        varies |= is_varying(&t->holes[i]);
        only_key &= t->holes[i].kind == HOLE_KEY;
        key |= t->holes[i].kind == HOLE_KEY;
    }
    char head[32];
    int n = varies ? 0 : snprintf(head, sizeof(head), "$%zu\r\n", word->len);
    size_t at = p->words.len + (size_t)n;
    if (varies && !add_varying(p, at, word->len))
        return false;
    for (unsigned i = first; i < t->n_holes; i++)
        t->holes[i].at += (uint32_t)at;
    if (t->replies == 0 && p->n_words == 1) {
        t->key_at = (uint32_t)at;
        t->key_len = (uint32_t)word->len;
        t->has_key = only_key;
        t->key_in = only_key && key;
    }
    p->n_words++;
    if (++p->all_words > TEMPLATE_WORDS_MAX)
        return fail(p, "more than %d words", TEMPLATE_WORDS_MAX);
    return add(p, &p->words, head, (size_t)n) &&
           (!word->len || add(p, &p->words, word->bytes, word->len)) &&
           add(p, &p->words, "\r\n", 2);
}

// The words of a command are complete.
static bool end_command(struct parser *p)
{
    struct template *t = p->t;
    if (!p->n_words)
        return fail(p, "give the words of a command");
    char head[32];
    int n = snprintf(head, sizeof(head), "*%u\r\n", p->n_words);
    uint32_t shift = (uint32_t)(p->request.len + (size_t)n);
    for (unsigned i = p->first_hole; i < t->n_holes; i++)
        t->holes[i].at += shift;
    for (unsigned i = p->first_varying; i < t->n_varying; i++)
        t->varying[i].at += shift;
    if (t->replies == 0)
        t->key_at += shift;
    p->first_hole = t->n_holes;
    p->first_varying = t->n_varying;
    p->n_words = 0;
    t->replies++;
    if (!add(p, &p->request, head, (size_t)n) || !add(p, &p->request, p->words.bytes, p->words.len))
        return false;
    p->words.len = 0;
    return true;
}

static bool parse_line(struct parser *p, const char *line, struct text *word)
{
    for (const char *c = line; *(c += strspn(c, " "));) {
        if (c[0] == ';' && (c[1] == ' ' || !c[1])) {
            if (!end_command(p))
                return false;
            c++;
            continue;
        }
        unsigned first = p->t->n_holes;
        word->len = 0;
        if (!read_word(p, &c, word) || !add_word(p, word, first))
            return false;
    }
    return end_command(p);
}

bool template_parse(struct template *t, const char *line, const struct template_context *c,
                    char *error, size_t error_size)
{
    *t = (struct template){
        .state = random_seed(c->seed, UINT64_C(0x7465) + c->thread),
        .sequence = c->thread,
        .step = c->threads ? c->threads : 1,
        .verify = c->verify,
        .stamp = c->thread << 24,
    };
    struct parser p = {.t = t, .context = c, .error = error, .error_size = error_size};
    struct text word = {0};
    bool good = parse_line(&p, line, &word);
    free(word.bytes);
    free(p.words.bytes);
    t->bytes = p.request.bytes;
    t->size = (uint32_t)p.request.len;
    if (!good)
        template_free(t);
    return good;
}

void template_free(struct template *t)
{
    for (unsigned i = 0; i < t->n_holes; i++)
        free(t->holes[i].sizes);
    free(t->varying);
    free(t->bytes);
    t->bytes = NULL;
    t->varying = NULL;
    t->n_holes = t->n_varying = 0;
}

// --- writing -----------------------------------------------------------------------------------

#define THREE(a, b, c) ('0' + (a)) | ('0' + (b)) << 8 | ('0' + (c)) << 16
#define TEN(a, b)                                                                   \
    THREE(a, b, 0), THREE(a, b, 1), THREE(a, b, 2), THREE(a, b, 3), THREE(a, b, 4), \
        THREE(a, b, 5), THREE(a, b, 6), THREE(a, b, 7), THREE(a, b, 8), THREE(a, b, 9)
#define HUNDRED(a)                                                                          \
    TEN(a, 0), TEN(a, 1), TEN(a, 2), TEN(a, 3), TEN(a, 4), TEN(a, 5), TEN(a, 6), TEN(a, 7), \
        TEN(a, 8), TEN(a, 9)

const uint32_t template_three[1000] = {HUNDRED(0), HUNDRED(1), HUNDRED(2), HUNDRED(3), HUNDRED(4),
                                       HUNDRED(5), HUNDRED(6), HUNDRED(7), HUNDRED(8), HUNDRED(9)};

static uint64_t draw(struct template *t, const struct template_hole *h)
{
    return h->low + random_below(random_next(&t->state), h->n);
}

static void write_number(uint8_t *to, uint64_t n, unsigned digits)
{
    while (digits--) {
        to[digits] = (uint8_t)('0' + n % 10);
        n /= 10;
    }
}

// Fills the holes whose length is fixed.
static void fill(struct template *t, uint8_t *bytes, uint64_t key)
{
    for (unsigned i = 0; i < t->n_holes; i++) {
        const struct template_hole *h = &t->holes[i];
        uint64_t n = key;
        switch (h->kind) {
        case HOLE_DRAW:
            n = draw(t, h);
            if (h->digits != TEMPLATE_DIGITS) {
                write_number(bytes + h->at, n, h->digits);
                continue;
            }
            break;
        case HOLE_SEQUENCE:
            n = t->sequence;
            t->sequence += t->step;
            break;
        case HOLE_DATA:
            if (h->sizes->fixed)
                value_write(bytes + h->at, 0, h->sizes->low, key, t->stamp++, h->sizes->low);
            continue;
        case HOLE_NUMBER:
            continue;
        case HOLE_KEY:
            break;
        }
        template_digits(bytes + h->at, n);
    }
}

size_t template_number(uint8_t *to, uint64_t n)
{
    uint8_t digits[TEMPLATE_DIGITS];
    size_t skip = 0;
    template_digits(digits, n);
    while (skip < TEMPLATE_DIGITS - 1 && digits[skip] == '0')
        skip++;
    memcpy(to, digits + skip, TEMPLATE_DIGITS - skip);
    return TEMPLATE_DIGITS - skip;
}

// Letters to copy from, as long as a span may be asked for; the next piece goes on with the first.
#define LETTERS "abcdefghijklmnopqrstuvwxyz"
static const char letters[] = LETTERS LETTERS LETTERS LETTERS LETTERS LETTERS LETTERS LETTERS
    LETTERS LETTERS LETTERS LETTERS LETTERS LETTERS LETTERS LETTERS LETTERS LETTERS LETTERS;
#define PIECE (sizeof(letters) - 1)
static_assert(PIECE <= OUT_CONTIGUOUS_MAX && PIECE % 26 == 0,
              "pieces are spans of whole alphabets");

void template_write_data(struct out *out, uint64_t key, uint32_t stamp, uint32_t size, bool verify)
{
    for (uint32_t from = 0; from < size;) {
        uint32_t n = size - from < PIECE ? size - from : PIECE;
        uint8_t *to = out_room(out, n);
        if (verify)
            value_write(to, from, n, key, stamp, size);
        else
            memcpy(to, letters, n);
        out->pos += n;
        from += n;
    }
}

// A request with words whose length changes: these are written piece by piece.
static size_t write_varying(struct template *t, struct out *out, uint64_t key)
{
    size_t all = t->size;
    uint32_t at = 0;
    unsigned h = 0;
    fill(t, t->bytes, key);
    for (unsigned i = 0; i < t->n_varying; i++) {
        const struct template_word *w = &t->varying[i];
        uint64_t drawn[TEMPLATE_HOLES_MAX];
        char head[32];
        uint64_t len = w->len;
        while (t->holes[h].word != w->word)
            h++;
        unsigned end = h;
        for (; end < t->n_holes && t->holes[end].word == w->word; end++) {
            const struct template_hole *hole = &t->holes[end];
            if (!is_varying(hole))
                continue;
            drawn[end] = hole->kind == HOLE_NUMBER
                             ? draw(t, hole)
                             : values_size(hole->sizes, random_next(&t->state));
            uint64_t size = hole->kind == HOLE_NUMBER ? digits_of(drawn[end]) : drawn[end];
            len += size;
            all += size;
        }
        out_write(out, t->bytes + at, w->at - at);
        size_t n = 1 + template_number((uint8_t *)head + 1, len);
        head[0] = '$';
        memcpy(head + n, "\r\n", 2);
        out_write(out, head, n + 2);
        all += n + 2;
        at = w->at;
        for (; h < end; h++) {
            const struct template_hole *hole = &t->holes[h];
            if (!is_varying(hole))
                continue;
            out_write(out, t->bytes + at, hole->at - at);
            at = hole->at;
            if (hole->kind == HOLE_NUMBER) {
                n = template_number((uint8_t *)head, drawn[h]);
                out_write(out, head, n);
            } else {
                template_write_data(out, key, t->stamp++, (uint32_t)drawn[h], t->verify);
            }
        }
    }
    out_write(out, t->bytes + at, t->size - at);
    return all;
}

size_t template_write(struct template *t, struct out *out, uint64_t key)
{
    if (t->n_varying)
        return write_varying(t, out, key);
    if (t->size <= OUT_CONTIGUOUS_MAX) {
        uint8_t *to = out_room(out, t->size);
        memcpy(to, t->bytes, t->size);
        fill(t, to, key);
        out->pos += t->size;
    } else {
        fill(t, t->bytes, key);
        out_write(out, t->bytes, t->size);
    }
    return t->size;
}

#define SLOT_KEY_MAX 512 // a longer key is not looked at

unsigned template_slot(const struct template *t, uint64_t key)
{
    uint8_t name[SLOT_KEY_MAX];
    if (!t->has_key || t->key_len > sizeof(name))
        return SLOTS;
    memcpy(name, t->bytes + t->key_at, t->key_len);
    for (unsigned i = 0; i < t->n_holes && t->holes[i].at < t->key_at + t->key_len; i++)
        if (t->holes[i].at >= t->key_at)
            template_digits(name + (t->holes[i].at - t->key_at), key);
    return slot_of_key(name, t->key_len);
}
