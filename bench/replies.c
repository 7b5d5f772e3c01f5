// Replies: where they end and whether they are what the request deserves. A reply is a line, a line
// and a bulk string, or an aggregate of these; how many elements are missing is all that must be
// remembered of a nesting, however deep.
#include <stdarg.h>
#include <stdio.h>

#include "bench/protocol.h"

#define COUNT_MAX (UINT64_C(1) << 40)    // bytes or elements that a header may announce
#define ELEMENTS_MAX (UINT64_C(1) << 44) // missing in all, when another aggregate begins
#define SHOWN 48                         // bytes of a reply in evidence

enum scanner_in {
    IN_LINE,
    IN_BULK,  // nobody looks into it
    IN_VALUE, // to be checked
    IN_ERROR, // the text of an error (RESP3)
};

static void name_request(const struct protocol *p, struct request r, char *text, size_t size)
{
    unsigned long long key = r.key;
    switch ((enum preset_kind)r.op) {
    case COMMAND_SET:
        snprintf(text, size, "SET key:%012llu", key);
        break;
    case COMMAND_GET:
        snprintf(text, size, "GET key:%012llu", key);
        break;
    case COMMAND_PING:
        snprintf(text, size, p->memcache ? "version" : "PING");
        break;
    case COMMAND_ANY:
        snprintf(text, size, "command %u, key %012llu", (unsigned)r.command + 1, key);
        break;
    default:
        snprintf(text, size, "request");
    }
}

// Notes what is wrong with the reply under way; what was noted first stays.
__attribute__((format(printf, 2, 3))) static void wrong(struct scanner *s, const char *format, ...)
{
    if (s->worst == REPLY_WRONG)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(s->line, sizeof(s->line), format, arguments);
    va_end(arguments);
    s->worst = REPLY_WRONG;
}

static enum reply_kind broken(struct scanner *s, const char *line, size_t len)
{
    char shown[4 * SHOWN + 8];
    snprintf(s->line, sizeof(s->line), "not the protocol that was expected: \"%s\"",
             value_show(shown, sizeof(shown), line, len < SHOWN ? len : SHOWN));
    return REPLY_BROKEN;
}

static void note(struct scanner *s, enum reply_kind kind)
{
    if (kind > s->worst)
        s->worst = (uint8_t)kind;
}

static const char *expected(const struct protocol *p, struct request r)
{
    if (r.op == COMMAND_SET)
        return p->memcache ? "STORED" : "+OK";
    if (r.op == COMMAND_PING)
        return p->memcache ? "VERSION" : "+PONG";
    return "a value";
}

static void wrong_line(const struct protocol *p, struct scanner *s, struct request r,
                       const char *line, size_t len)
{
    char shown[4 * SHOWN + 8];
    wrong(s, "expected %s, got \"%s\" (reply at offset 0)", expected(p, r),
          value_show(shown, sizeof(shown), line, len < SHOWN ? len : SHOWN));
}

// Adds to the text of an error, which is kept for people: without what a terminal would obey.
static void add_error(struct scanner *s, const uint8_t *text, size_t len)
{
    for (size_t i = 0; i < len && s->n_line < sizeof(s->line) - 1; i++)
        s->line[s->n_line++] = text[i] < ' ' || text[i] == 0x7f ? '?' : (char)text[i];
    s->line[s->n_line] = 0;
}

// The first error among the replies to a request is kept.
static void keep_error(struct scanner *s, const char *line, size_t len)
{
    if (s->worst >= REPLY_ERROR)
        return;
    s->n_line = 0;
    add_error(s, (const uint8_t *)line, len);
    s->worst = REPLY_ERROR;
}

// The request has its answer.
static enum reply_kind finish(struct scanner *s)
{
    enum reply_kind kind = s->worst;
    s->begun = s->push = false;
    s->in = IN_LINE;
    s->worst = REPLY_OK;
    s->replies = 0;
    return kind;
}

// One more value is whole: an element, or a reply.
static enum reply_kind complete(const struct protocol *p, struct scanner *s, struct request r)
{
    s->in = IN_LINE;
    if (s->elements && --s->elements)
        return REPLY_MORE;
    if (s->push) {
        s->push = false;
        return REPLY_MORE;
    }
    if (r.op == COMMAND_ANY && ++s->replies < p->commands[r.command].replies)
        return REPLY_MORE;
    return finish(s);
}

// The number of a header, from -1 on. False: it is none.
static bool read_count(const char *text, size_t len, int64_t *n)
{
    if (len == 2 && text[0] == '-' && text[1] == '1')
        return *n = -1, true;
    *n = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || *n >= (int64_t)COUNT_MAX)
            return false;
        *n = *n * 10 + (text[i] - '0');
    }
    return len > 0 && *n <= (int64_t)COUNT_MAX;
}

static bool all_of(const char *text, size_t len, const char *allowed)
{
    for (size_t i = 0; i < len; i++)
        if (!text[i] || !strchr(allowed, text[i]))
            return false;
    return len > 0;
}

// Whether a value that is one line is well formed.
static bool good_line(const char *line, size_t len)
{
    switch (line[0]) {
    case '+':
    case '-':
        return true;
    case ':':
    case '(':
        return all_of(line + 1, len - 1, "0123456789+-");
    case ',':
        return all_of(line + 1, len - 1, "0123456789+-.eEinfa");
    case '#':
        return len == 2 && (line[1] == 't' || line[1] == 'f');
    case '_':
        return len == 1;
    default:
        return false;
    }
}

static void wrong_length(const struct protocol *p, struct scanner *s, uint64_t size,
                         unsigned offset)
{
    char bounds[32];
    int n = snprintf(bounds, sizeof(bounds), "%u", p->values.low);
    if (!p->values.fixed)
        snprintf(bounds + n, sizeof(bounds) - (size_t)n, " to %u", p->values.high);
    wrong(s, PROTOCOL_OTHER_SIZE "%s bytes, got one of %llu (length at offset %u)", bounds,
          (unsigned long long)size, offset);
}

// A bulk string begins. Its header is right.
static enum reply_kind begin_bulk(const struct protocol *p, struct scanner *s, struct request r,
                                  const char *line, size_t len, uint64_t size)
{
    bool outermost = !s->elements && !s->push;
    s->left = size + 2;
    s->in = IN_BULK;
    if (line[0] == '!' && outermost) {
        s->in = s->worst < REPLY_ERROR ? IN_ERROR : IN_BULK;
        keep_error(s, "-", 1);
    } else if (r.op == COMMAND_GET && outermost && line[0] == '$') {
        if (!values_has(&p->values, size)) {
            wrong_length(p, s, size, 1);
        } else if (p->verify) {
            value_check_begin(&s->check, r.key, size, false);
            s->in = IN_VALUE;
        }
    } else if (r.op == COMMAND_ANY && p->verify) {
        value_check_begin(&s->check, p->commands[r.command].key_in ? r.key : VALUE_ANY_KEY, size,
                          true);
        s->in = IN_VALUE;
    } else if (outermost && r.op < COMMAND_ANY) {
        wrong_line(p, s, r, line, len);
    }
    return REPLY_MORE;
}

static enum reply_kind begin_aggregate(const struct protocol *p, struct scanner *s,
                                       struct request r, const char *line, size_t len, uint64_t n)
{
    bool outermost = !s->elements && !s->push;
    if (line[0] == '%' || line[0] == '|')
        n *= 2;
    if (line[0] == '|' || (line[0] == '>' && outermost)) {
        // Attributes and pushed messages stand before a value and are none themselves.
        if (outermost && n)
            s->push = true;
        s->elements += n;
        return REPLY_MORE;
    }
    if (outermost && r.op < COMMAND_ANY)
        wrong_line(p, s, r, line, len);
    if (!n)
        return complete(p, s, r);
    s->elements += n - (s->elements ? 1 : 0);
    return REPLY_MORE;
}

// A whole line of RESP, without its CRLF.
static enum reply_kind judge(const struct protocol *p, struct scanner *s, struct request r,
                             const char *line, size_t len)
{
    bool outermost = !s->elements && !s->push, test = r.op < COMMAND_ANY;
    int64_t n;
    if (!len)
        return broken(s, line, len);
    if (strchr("$*~%>|!=", line[0])) {
        if (!read_count(line + 1, len - 1, &n) || s->elements > ELEMENTS_MAX)
            return broken(s, line, len);
        if (n >= 0)
            return line[0] == '$' || line[0] == '!' || line[0] == '='
                       ? begin_bulk(p, s, r, line, len, (uint64_t)n)
                       : begin_aggregate(p, s, r, line, len, (uint64_t)n);
        if (line[0] != '$' && line[0] != '*')
            return broken(s, line, len);
    } else if (!good_line(line, len)) {
        return broken(s, line, len);
    }
    if (!outermost)
        return complete(p, s, r);
    if (line[0] == '-')
        keep_error(s, line, len);
    else if (line[0] == '$' || line[0] == '_' || line[0] == '*') { // nothing
        if (r.op == COMMAND_GET ? line[0] != '*' : !test)
            note(s, REPLY_MISS);
        else
            wrong_line(p, s, r, line, len);
    } else if (test && (r.op == COMMAND_GET || len != strlen(expected(p, r)) ||
                        memcmp(line, expected(p, r), len) != 0)) {
        wrong_line(p, s, r, line, len);
    }
    return complete(p, s, r);
}

// Takes what there is of the bulk string under way.
static enum reply_kind scan_bulk(const struct protocol *p, struct scanner *s, struct request r,
                                 const uint8_t *data, size_t len, size_t *used)
{
    uint64_t body = s->left > 2 ? s->left - 2 : 0;
    size_t n = len < body ? len : (size_t)body;
    char evidence[PROTOCOL_LINE_MAX];
    if (s->in == IN_VALUE && !value_check_bytes(&s->check, data, n, evidence, sizeof(evidence)))
        wrong(s, "%s", evidence);
    if (s->in == IN_ERROR)
        add_error(s, data, n);
    s->left -= n;
    for (; n < len && s->left; n++, s->left--)
        if (s->left <= 2 && data[n] != (s->left == 2 ? '\r' : '\n')) {
            *used += n;
            return broken(s, (const char *)data + n, len - n);
        }
    *used += n;
    if (s->left)
        return REPLY_MORE;
    return p->memcache ? (s->in = IN_LINE, REPLY_MORE) : complete(p, s, r);
}

// --- memcached's text protocol -----------------------------------------------------------------

static bool begins(const char *line, size_t len, const char *with)
{
    size_t n = strlen(with);
    return len >= n && memcmp(line, with, n) == 0;
}

static bool equals(const char *line, size_t len, const char *with)
{
    return len == strlen(with) && begins(line, len, with);
}

// "VALUE key:000000000042 0 64": the key and the length must be ours.
static enum reply_kind judge_value(const struct protocol *p, struct scanner *s, struct request r,
                                   const char *line, size_t len)
{
    char key[8 + PROTOCOL_KEY_SIZE] = "VALUE ", shown[4 * PROTOCOL_KEY_SIZE + 8];
    const char *flags = line + 6 + PROTOCOL_KEY_SIZE;
    int64_t size;
    if (len < 6 + PROTOCOL_KEY_SIZE + 3 || !begins(flags, len - 6 - PROTOCOL_KEY_SIZE, " 0 ") ||
        !read_count(flags + 3, len - PROTOCOL_KEY_SIZE - 9, &size) || size < 0)
        return broken(s, line, len);
    protocol_write_key((uint8_t *)key + 6, r.key);
    s->left = (uint64_t)size + 2;
    s->in = IN_BULK;
    s->elements = 1; // END is still to come
    if (r.op != COMMAND_GET)
        wrong_line(p, s, r, line, len);
    else if (memcmp(line, key, 6 + PROTOCOL_KEY_SIZE) != 0)
        wrong(s, "expected %s, got \"%s\" (key at offset 6): the reply to another request", key + 6,
              value_show(shown, sizeof(shown), line + 6, PROTOCOL_KEY_SIZE));
    else if (!values_has(&p->values, (uint64_t)size))
        wrong_length(p, s, (uint64_t)size, 9 + PROTOCOL_KEY_SIZE);
    else if (p->verify) {
        value_check_begin(&s->check, r.key, (uint64_t)size, false);
        s->in = IN_VALUE;
    }
    return REPLY_MORE;
}

static enum reply_kind judge_memcache(const struct protocol *p, struct scanner *s, struct request r,
                                      const char *line, size_t len)
{
    if (s->elements) {
        s->elements = 0;
        return equals(line, len, "END") ? finish(s) : broken(s, line, len);
    }
    if (begins(line, len, "VALUE "))
        return judge_value(p, s, r, line, len);
    if (equals(line, len, "ERROR") || begins(line, len, "CLIENT_ERROR ") ||
        begins(line, len, "SERVER_ERROR ")) {
        keep_error(s, line, len);
        return finish(s);
    }
    bool end = equals(line, len, "END"), stored = equals(line, len, "STORED");
    if (end && r.op == COMMAND_GET)
        note(s, REPLY_MISS);
    else if (end || stored || begins(line, len, "VERSION ") || equals(line, len, "NOT_STORED")) {
        if (!(stored && r.op == COMMAND_SET) && !(line[0] == 'V' && r.op == COMMAND_PING))
            wrong_line(p, s, r, line, len);
    } else {
        return broken(s, line, len);
    }
    return finish(s);
}

// --- both --------------------------------------------------------------------------------------

// Keeps the beginning of a line that is cut, or adds its end. The end of an overlong line is lost:
// only people read those.
static void keep_line(struct scanner *s, const uint8_t *data, size_t len)
{
    size_t room = sizeof(s->partial) - s->n_partial, n = len < room ? len : room;
    memcpy(s->partial + s->n_partial, data, n);
    // The last two bytes are kept in any case, for they may be its CRLF.
    if (n < len) {
        if (len - n >= 2) {
            memcpy(s->partial + sizeof(s->partial) - 2, data + len - 2, 2);
        } else {
            s->partial[sizeof(s->partial) - 2] = s->partial[sizeof(s->partial) - 1];
            s->partial[sizeof(s->partial) - 1] = (char)data[len - 1];
        }
    }
    s->n_partial = (uint16_t)(s->n_partial + n);
}

enum reply_kind protocol_scan_other(const struct protocol *p, struct scanner *s, struct request r,
                                    const uint8_t *data, size_t len, size_t *used)
{
    *used = 0;
    while (*used < len) {
        const uint8_t *at = data + *used;
        size_t n = len - *used;
        enum reply_kind kind;
        s->begun = true;
        if (s->in != IN_LINE) {
            kind = scan_bulk(p, s, r, at, n, used);
        } else {
            const uint8_t *end = memchr(at, '\n', n);
            const char *line = (const char *)at;
            if (end)
                n = (size_t)(end - at) + 1;
            *used += n;
            if (!end || s->n_partial) {
                keep_line(s, at, n);
                if (!end)
                    break;
                line = s->partial;
                n = s->n_partial;
                s->n_partial = 0;
            }
            if (n < 2 || line[n - 2] != '\r')
                return broken(s, line, n);
            kind = p->memcache ? judge_memcache(p, s, r, line, n - 2) : judge(p, s, r, line, n - 2);
        }
        if (kind != REPLY_MORE)
            return kind;
    }
    return REPLY_MORE;
}

void protocol_explain(const struct protocol *p, const struct scanner *s, struct request r,
                      char *text, size_t size)
{
    char name[64];
    name_request(p, r, name, sizeof(name));
    snprintf(text, size, "%s: %s", name, s->line);
}
