#include "bench/protocol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char set_head[] = "*3\r\n$3\r\nSET\r\n$16\r\n";
static const char get_head[] = "*2\r\n$3\r\nGET\r\n$16\r\n";
static const char ping[] = "*1\r\n$4\r\nPING\r\n";
static const char ok[] = "+OK\r\n";

// A value starts with its key, so that a reply that belongs to another key is noticed; the rest is
// a pattern of letters.
static uint8_t value_byte(size_t i)
{
    return (uint8_t)('a' + i % 26);
}

void protocol_write_key(uint8_t *to, uint64_t n)
{
    memcpy(to, "key:", 4);
    template_digits(to + 4, n);
}

static bool make_set(struct protocol *p)
{
    size_t head = sizeof(set_head) - 1;
    p->set = malloc(head + PROTOCOL_KEY_SIZE + 32 + (size_t)p->data_size);
    if (!p->set)
        return false;
    memcpy(p->set, set_head, head);
    p->set_key = (uint32_t)head;
    protocol_write_key(p->set + p->set_key, 0);
    uint32_t at = p->set_key + PROTOCOL_KEY_SIZE;
    at += (uint32_t)sprintf((char *)p->set + at, "\r\n$%u\r\n", p->data_size);
    p->set_value = at;
    for (uint32_t i = 0; i < p->data_size; i++)
        p->set[at + i] = value_byte(i);
    at += p->data_size;
    memcpy(p->set + at, "\r\n", 2);
    p->set_size = at + 2;
    return true;
}

bool protocol_init(struct protocol *p, const struct preset *test, const struct options *o,
                   unsigned thread, char *error, size_t error_size)
{
    *p = (struct protocol){.data_size = o->data.low, .verify = o->verify};
    if (!make_set(p)) {
        snprintf(error, error_size, "out of memory");
        return false;
    }
    memcpy(p->get, get_head, sizeof(get_head) - 1);
    p->get_key = sizeof(get_head) - 1;
    protocol_write_key(p->get + p->get_key, 0);
    memcpy(p->get + p->get_key + PROTOCOL_KEY_SIZE, "\r\n", 2);
    p->get_size = p->get_key + PROTOCOL_KEY_SIZE + 2;
    p->hit_size = (uint32_t)snprintf((char *)p->hit, sizeof(p->hit), "$%u\r\n", p->data_size);
    for (p->n_commands = 0; p->n_commands < test->n; p->n_commands++) {
        if (test->commands[p->n_commands].kind != COMMAND_ANY)
            continue;
        if (!template_parse(&p->commands[p->n_commands], test->commands[p->n_commands].line,
                            p->data_size, o->keys, o->seed + thread, error, error_size)) {
            protocol_free(p);
            return false;
        }
    }
    return true;
}

void protocol_free(struct protocol *p)
{
    free(p->set);
    p->set = NULL;
    for (unsigned i = 0; i < p->n_commands; i++)
        template_free(&p->commands[i]);
    p->n_commands = 0;
}

static void write_set(struct protocol *p, struct out *out, uint64_t key)
{
    uint32_t in_value = p->data_size < PROTOCOL_KEY_SIZE ? p->data_size : PROTOCOL_KEY_SIZE;
    uint8_t *to = p->set;
    bool direct = p->set_size <= OUT_CONTIGUOUS_MAX;
    if (direct) {
        to = out_room(out, p->set_size);
        memcpy(to, p->set, p->set_size);
    }
    protocol_write_key(to + p->set_key, key);
    memcpy(to + p->set_value, to + p->set_key, in_value);
    if (direct)
        out->pos += p->set_size;
    else
        out_write(out, p->set, p->set_size);
}

void protocol_write(struct protocol *p, struct out *out, struct request r)
{
    uint8_t *to;
    switch ((enum preset_kind)r.op) {
    case COMMAND_SET:
        write_set(p, out, r.key);
        p->written += p->set_size;
        break;
    case COMMAND_GET:
        to = out_room(out, p->get_size);
        memcpy(to, p->get, sizeof(get_head) - 1 + PROTOCOL_KEY_SIZE + 2);
        protocol_write_key(to + p->get_key, r.key);
        out->pos += p->get_size;
        p->written += p->get_size;
        break;
    case COMMAND_PING:
        out_write(out, ping, sizeof(ping) - 1);
        p->written += sizeof(ping) - 1;
        break;
    case COMMAND_ANY:
        template_write(&p->commands[r.command], out, r.key);
        p->written += p->commands[r.command].size;
        break;
    }
}

// True when the bytes `data`, from offset `at` of the value on, are those of key `key`.
static bool value_matches(const struct protocol *p, uint64_t key, uint64_t at, const uint8_t *data,
                          size_t len)
{
    uint8_t name[PROTOCOL_KEY_SIZE];
    if (at < PROTOCOL_KEY_SIZE) {
        protocol_write_key(name, key);
        size_t n = PROTOCOL_KEY_SIZE - at < len ? PROTOCOL_KEY_SIZE - at : len;
        if (memcmp(data, name + at, n) != 0)
            return false;
        data += n;
        len -= n;
        at += n;
    }
    return memcmp(data, p->set + p->set_value + at, len) == 0;
}

// Of the reply to any command: one more of its elements is whole.
static enum reply_kind element_done(struct scanner *s)
{
    return --s->elements ? REPLY_MORE : REPLY_OK;
}

// A line of the reply to any command. RESP2, since nobody said HELLO.
static enum reply_kind judge_any(struct scanner *s)
{
    const char *line = s->line;
    bool outermost = !s->elements;
    if (outermost)
        s->elements = 1;
    if (line[0] == '+' || line[0] == ':')
        return element_done(s);
    if (line[0] == '-') {
        enum reply_kind kind = element_done(s);
        return outermost ? REPLY_ERROR : kind;
    }
    char *end;
    long long n = strtoll(line + 1, &end, 10);
    if ((line[0] != '$' && line[0] != '*') || *end || end == line + 1 || n < -1)
        return REPLY_BROKEN;
    if (n < 0) {
        enum reply_kind kind = element_done(s);
        return outermost ? REPLY_MISS : kind;
    }
    if (line[0] == '*') {
        s->elements += (uint64_t)n;
        return element_done(s);
    }
    s->in_bulk = true;
    s->at = 0;
    s->left = (uint64_t)n + 2;
    return REPLY_MORE;
}

// Takes what there is of the bulk string that is under way.
static enum reply_kind scan_bulk(const struct protocol *p, struct scanner *s, struct request r,
                                 const uint8_t *data, size_t len, size_t *used)
{
    size_t n = len < s->left ? len : (size_t)s->left;
    if (p->verify && !s->mismatch && r.op == COMMAND_GET && s->at < p->data_size) {
        size_t compare = p->data_size - s->at < n ? (size_t)(p->data_size - s->at) : n;
        s->mismatch = !value_matches(p, r.key, s->at, data, compare);
    }
    s->at += n;
    s->left -= n;
    *used += n;
    if (s->left > 0)
        return REPLY_MORE;
    s->in_bulk = false;
    if (r.op == COMMAND_ANY)
        return element_done(s);
    return s->mismatch ? REPLY_WRONG : REPLY_OK;
}

// A whole line, without its CRLF: a simple reply, or the header of a bulk string (REPLY_MORE).
static enum reply_kind judge_line(const struct protocol *p, struct scanner *s, struct request r)
{
    const char *line = s->line;
    if (line[0] == '-')
        return REPLY_ERROR;
    if (line[0] == '+') {
        const char *expected = r.op == COMMAND_PING ? "+PONG" : "+OK";
        return r.op != COMMAND_GET && !strcmp(line, expected) ? REPLY_OK : REPLY_WRONG;
    }
    if (line[0] == ':' || line[0] == '_')
        return REPLY_WRONG;
    if (line[0] != '$')
        return REPLY_BROKEN;
    char *end;
    long long size = strtoll(line + 1, &end, 10);
    if (*end || end == line + 1 || size < -1)
        return REPLY_BROKEN;
    if (size < 0)
        return r.op == COMMAND_GET ? REPLY_MISS : REPLY_WRONG;
    s->in_bulk = true;
    s->at = 0;
    s->left = (uint64_t)size + 2;
    s->mismatch = r.op != COMMAND_GET || (uint64_t)size != p->data_size;
    return REPLY_MORE;
}

// The way for replies that are unusual or cut: byte by byte until the line is whole.
static enum reply_kind scan_slowly(const struct protocol *p, struct scanner *s, struct request r,
                                   const uint8_t *data, size_t len, size_t *used)
{
    while (*used < len) {
        if (s->in_bulk) {
            enum reply_kind kind = scan_bulk(p, s, r, data + *used, len - *used, used);
            if (kind != REPLY_MORE || s->in_bulk)
                return kind;
            continue; // of an array
        }
        uint8_t byte = data[(*used)++];
        if (byte != '\n') {
            // The end of an overlong line is cut: only its beginning is shown to people.
            if (s->n_line < sizeof(s->line) - 1)
                s->line[s->n_line++] = (char)byte;
            continue;
        }
        if (s->n_line < 2 || s->line[s->n_line - 1] != '\r')
            return REPLY_BROKEN;
        s->line[s->n_line - 1] = 0;
        s->n_line = 0;
        enum reply_kind kind = r.op == COMMAND_ANY ? judge_any(s) : judge_line(p, s, r);
        if (kind != REPLY_MORE)
            return kind;
    }
    return REPLY_MORE;
}

enum reply_kind protocol_scan(const struct protocol *p, struct scanner *s, struct request r,
                              const uint8_t *data, size_t len, size_t *used)
{
    *used = 0;
    if (r.op == COMMAND_ANY && s->n_line == 0 && !s->elements && len >= 4 &&
        (data[0] == ':' || data[0] == '+')) {
        const uint8_t *end = memchr(data, '\n', len);
        if (end) {
            *used = (size_t)(end - data) + 1;
            return REPLY_OK;
        }
    }
    if (s->n_line == 0 && !s->in_bulk) {
        // Nearly all replies are one of these two, whole.
        size_t whole = p->hit_size + (size_t)p->data_size + 2;
        if (r.op == COMMAND_SET && len >= sizeof(ok) - 1 && !memcmp(data, ok, sizeof(ok) - 1)) {
            *used = sizeof(ok) - 1;
            return REPLY_OK;
        }
        if (r.op == COMMAND_GET && len >= whole && !memcmp(data, p->hit, p->hit_size)) {
            *used = whole;
            if (p->verify && !value_matches(p, r.key, 0, data + p->hit_size, p->data_size))
                return REPLY_WRONG;
            return REPLY_OK;
        }
    }
    return scan_slowly(p, s, r, data, len, used);
}

void protocol_explain(const struct protocol *p, const struct scanner *s, struct request r, char *text,
                      size_t size)
{
    static const char *const names[] = {"SET", "GET", "PING"};
    (void)p;
    (void)s;
    snprintf(text, size, "%s key:%012llu: not the reply that belongs to it",
             r.op < COMMAND_ANY ? names[r.op] : "a command on", (unsigned long long)r.key);
}
