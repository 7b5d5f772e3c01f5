// Reading RESP: requests of the control socket, and replies of any shape into a tree.
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/resp_text.h"

#define LINE_MAX_BYTES (64 * 1024) // an inline request, or the header of a value
// Values in one reply. A header may announce what never comes; memory is taken for what is there.
#define VALUES_MAX (1u << 24)

// A decimal number that takes the whole of `text`.
static bool decimal(const char *text, size_t len, int64_t *value)
{
    bool minus = len && text[0] == '-';
    uint64_t v = 0;
    if (len == minus || len - minus > 18)
        return false;
    for (size_t i = minus; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(text[i] - '0');
    }
    *value = minus ? -(int64_t)v : (int64_t)v;
    return true;
}

// The line at `data`: its length without the end of line; -1 when the end is not there yet, -2 when
// it is too long.
static ssize_t line_at(const char *data, size_t len)
{
    const char *end = memchr(data, '\n', len < LINE_MAX_BYTES ? len : LINE_MAX_BYTES);
    if (!end)
        return len >= LINE_MAX_BYTES ? -2 : -1;
    size_t n = (size_t)(end - data);
    return (ssize_t)(n && data[n - 1] == '\r' ? n - 1 : n);
}

static size_t line_end(const char *data, size_t line)
{
    return line + (data[line] == '\r' ? 2 : 1);
}

// --- requests ------------------------------------------------------------------------------------

static ssize_t inline_request(const char *data, size_t line, struct resp_word *words, unsigned max,
                              unsigned *argc, const char **error)
{
    size_t at = 0;
    for (;;) {
        while (at < line && (data[at] == ' ' || data[at] == '\t'))
            at++;
        if (at == line)
            return (ssize_t)line_end(data, line);
        if (*argc == max) {
            *error = "too many words";
            return -1;
        }
        size_t start = at;
        while (at < line && data[at] != ' ' && data[at] != '\t')
            at++;
        words[(*argc)++] = (struct resp_word){data + start, at - start};
    }
}

ssize_t resp_request(const char *data, size_t len, struct resp_word *words, unsigned max,
                     unsigned *argc, const char **error)
{
    *argc = 0;
    if (!len)
        return 0;
    ssize_t line = line_at(data, len);
    *error = "too long a line";
    if (line < 0)
        return line == -1 ? 0 : -1;
    if (data[0] != '*')
        return inline_request(data, (size_t)line, words, max, argc, error);
    int64_t n, size;
    *error = "invalid multibulk length";
    if (!decimal(data + 1, (size_t)line - 1, &n) || n > max)
        return -1;
    size_t at = line_end(data, (size_t)line);
    for (int64_t i = 0; i < n; i++) {
        *error = "too long a line";
        line = line_at(data + at, len - at);
        if (line < 0)
            return line == -1 ? 0 : -1;
        *error = "invalid bulk length";
        if (line < 2 || data[at] != '$' || !decimal(data + at + 1, (size_t)line - 1, &size) ||
            size < 0 || size > INT32_MAX)
            return -1;
        at += line_end(data + at, (size_t)line);
        if (len - at < (size_t)size + 2)
            return 0;
        if (memcmp(data + at + size, "\r\n", 2)) {
            *error = "a bulk string without its end of line";
            return -1;
        }
        words[(*argc)++] = (struct resp_word){data + at, (size_t)size};
        at += (size_t)size + 2;
    }
    return (ssize_t)at;
}

// --- replies -------------------------------------------------------------------------------------

struct head {
    char type;
    size_t line;    // bytes of the line
    size_t bytes;   // of the whole head, end of line included
    int64_t number; // of $ = ! * % ~ > and :
};

// Looks at the head of a value. 1: it is there, 0: more bytes are needed, -1: it is none.
static int head_at(const char *data, size_t len, struct head *h)
{
    if (!len)
        return 0;
    h->type = data[0];
    if (!strchr("+-:,#_$=!*%~>(", h->type) || h->type == '\0')
        return -1;
    ssize_t line = line_at(data, len);
    if (line < 0)
        return line == -1 ? 0 : -1;
    h->line = (size_t)line;
    h->bytes = line_end(data, h->line);
    h->number = 0;
    if (strchr("$=!*%~>:", h->type) && !decimal(data + 1, h->line - 1, &h->number) &&
        h->type != ':')
        return -1;
    if (h->type != ':' && (h->number < -1 || h->number > UINT32_MAX))
        return -1;
    return 1;
}

static bool is_bulk(char type)
{
    return type == '$' || type == '=' || type == '!';
}

static uint64_t children(const struct head *h)
{
    if (!strchr("*%~>", h->type) || h->number <= 0)
        return 0;
    return (uint64_t)h->number * (h->type == '%' ? 2 : 1);
}

bool resp_scan(struct resp_scan *s, const char *data, size_t len, bool *bad)
{
    *bad = false;
    while (!s->ended) {
        struct head h;
        int there = head_at(data + s->at, len - s->at, &h);
        *bad = there < 0;
        if (there <= 0)
            return false;
        size_t bytes = h.bytes;
        if (is_bulk(h.type) && h.number >= 0)
            bytes += (size_t)h.number + 2;
        if (len - s->at < bytes)
            return false;
        s->at += bytes;
        uint64_t more = children(&h);
        if (more > VALUES_MAX || s->left + more > VALUES_MAX) {
            *bad = true;
            return false;
        }
        s->left += more;
        if (s->left == 0)
            s->ended = true;
        else
            s->left--;
    }
    return true;
}

static bool value_text(struct resp_value *v, const char *data, size_t len)
{
    v->text = malloc(len + 1);
    if (!v->text)
        return false;
    memcpy(v->text, data, len);
    v->text[len] = '\0';
    v->len = len;
    return true;
}

void resp_value_clear(struct resp_value *v)
{
    free(v->text);
    for (size_t i = 0; i < v->n; i++)
        resp_value_clear(&v->items[i]);
    free(v->items);
}

// Depth is bounded, so this recursion is. Returns the bytes taken, 0 when it fails; `v` can be
// cleared in either case.
static size_t value_read(struct resp_value *v, const char *data, size_t len, unsigned depth)
{
    struct head h;
    *v = (struct resp_value){0};
    if (depth > RESP_DEPTH_MAX || head_at(data, len, &h) != 1)
        return 0;
    v->type = h.type;
    size_t at = h.bytes;
    if (is_bulk(h.type)) {
        v->null = h.number < 0;
        if (v->null)
            return at;
        size_t size = (size_t)h.number;
        size_t kind = h.type == '=' && size >= 4 ? 4 : 0; // "txt:" before a verbatim string
        if (len - at < size + 2 || !value_text(v, data + at + kind, size - kind))
            return 0;
        return at + size + 2;
    }
    if (strchr("*%~>", h.type)) {
        v->null = h.number < 0;
        uint64_t n = children(&h);
        if (n > (len - at) / 3) // each takes three bytes or more
            return 0;
        if (n && !(v->items = calloc(n, sizeof(*v->items))))
            return 0;
        while (v->n < n) {
            size_t used = value_read(&v->items[v->n], data + at, len - at, depth + 1);
            v->n++;
            if (!used)
                return 0;
            at += used;
        }
        return at;
    }
    assert(h.line > 0); // the type stands in it
    if (!value_text(v, data + 1, h.line - 1))
        return 0;
    v->null = h.type == '_';
    v->integer = h.type == '#' ? v->text[0] == 't' : strtoll(v->text, NULL, 10);
    v->number = h.type == ',' ? strtod(v->text, NULL) : (double)v->integer;
    return at;
}

struct resp_value *resp_value_read(const char *data, size_t len)
{
    struct resp_value *v = malloc(sizeof(*v));
    if (!v)
        return NULL;
    if (value_read(v, data, len, 0) != len) {
        resp_value_clear(v);
        free(v);
        return NULL;
    }
    return v;
}

void resp_value_free(struct resp_value *v)
{
    if (!v)
        return;
    resp_value_clear(v);
    free(v);
}

const struct resp_value *resp_member(const struct resp_value *v, const char *name)
{
    if (!v || v->type != '%')
        return NULL;
    for (size_t i = 0; i + 1 < v->n; i += 2)
        if (v->items[i].text && strcmp(v->items[i].text, name) == 0)
            return &v->items[i + 1];
    return NULL;
}

int64_t resp_member_integer(const struct resp_value *v, const char *name)
{
    const struct resp_value *m = resp_member(v, name);
    return m ? m->integer : 0;
}

double resp_member_double(const struct resp_value *v, const char *name)
{
    const struct resp_value *m = resp_member(v, name);
    return m ? m->number : 0;
}

const char *resp_member_string(const struct resp_value *v, const char *name)
{
    const struct resp_value *m = resp_member(v, name);
    return m && m->text ? m->text : "";
}
