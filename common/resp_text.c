#include "common/resp_text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool text_room(struct resp_text *t, size_t n)
{
    if (t->failed)
        return false;
    if (t->cap - t->len >= n)
        return true;
    size_t cap = t->cap ? t->cap : 512;
    while (cap - t->len < n)
        cap *= 2;
    char *data = realloc(t->data, cap);
    if (!data) {
        t->failed = true;
        return false;
    }
    t->data = data;
    t->cap = cap;
    return true;
}

void resp_text_free(struct resp_text *t)
{
    free(t->data);
    *t = (struct resp_text){.resp = t->resp};
}

void resp_put_raw(struct resp_text *t, const void *data, size_t len)
{
    if (!len || !text_room(t, len))
        return;
    memcpy(t->data + t->len, data, len);
    t->len += len;
}

__attribute__((format(printf, 2, 3))) static void put_line(struct resp_text *t, const char *format,
                                                           ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof(line) - 2, format, args);
    va_end(args);
    size_t len = n < 0 ? 0 : n < (int)sizeof(line) - 2 ? (size_t)n : sizeof(line) - 3;
    for (size_t i = 0; i < len; i++)
        if (line[i] == '\r' || line[i] == '\n')
            line[i] = ' ';
    memcpy(line + len, "\r\n", 2);
    resp_put_raw(t, line, len + 2);
}

// Counts a value into the aggregate that is open.
static void count(struct resp_text *t)
{
    if (t->depth)
        t->open[t->depth - 1].n++;
}

void resp_open(struct resp_text *t, char type)
{
    count(t);
    assert(t->depth < RESP_DEPTH_MAX);
    t->open[t->depth].at = t->len;
    t->open[t->depth].n = 0;
    t->open[t->depth].type = type;
    t->depth++;
}

// The header is put before the values when their number is known.
void resp_close(struct resp_text *t)
{
    assert(t->depth);
    t->depth--;
    size_t at = t->open[t->depth].at, n = t->open[t->depth].n;
    char type = t->open[t->depth].type;
    if (type == '%' && t->resp == 3) {
        assert(n % 2 == 0);
        n /= 2;
    } else if (t->resp != 3) {
        type = '*';
    }
    char header[32];
    size_t len = (size_t)snprintf(header, sizeof(header), "%c%zu\r\n", type, n);
    if (!text_room(t, len))
        return;
    memmove(t->data + at + len, t->data + at, t->len - at);
    memcpy(t->data + at, header, len);
    t->len += len;
}

void resp_put_status(struct resp_text *t, const char *text)
{
    count(t);
    put_line(t, "+%s", text);
}

void resp_put_error(struct resp_text *t, const char *format, ...)
{
    char text[480];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    count(t);
    put_line(t, "-%s", text);
}

void resp_put_bytes(struct resp_text *t, const void *data, size_t len)
{
    count(t);
    put_line(t, "$%zu", len);
    resp_put_raw(t, data, len);
    resp_put_raw(t, "\r\n", 2);
}

void resp_put_string(struct resp_text *t, const char *text)
{
    resp_put_bytes(t, text, strlen(text));
}

void resp_put_integer(struct resp_text *t, int64_t value)
{
    count(t);
    put_line(t, ":%lld", (long long)value);
}

void resp_put_double(struct resp_text *t, double value)
{
    char text[64];
    snprintf(text, sizeof(text), "%.6g", value);
    if (t->resp == 3) {
        count(t);
        put_line(t, ",%s", text);
    } else {
        resp_put_string(t, text);
    }
}

void resp_put_bool(struct resp_text *t, bool value)
{
    count(t);
    if (t->resp == 3)
        put_line(t, "#%c", value ? 't' : 'f');
    else
        put_line(t, ":%d", value);
}

void resp_put_null(struct resp_text *t)
{
    count(t);
    put_line(t, t->resp == 3 ? "_" : "$-1");
}

void resp_field_string(struct resp_text *t, const char *name, const char *value)
{
    resp_put_string(t, name);
    resp_put_string(t, value);
}

void resp_field_integer(struct resp_text *t, const char *name, int64_t value)
{
    resp_put_string(t, name);
    resp_put_integer(t, value);
}

void resp_field_double(struct resp_text *t, const char *name, double value)
{
    resp_put_string(t, name);
    resp_put_double(t, value);
}

void resp_field_bool(struct resp_text *t, const char *name, bool value)
{
    resp_put_string(t, name);
    resp_put_bool(t, value);
}

void resp_field_open(struct resp_text *t, const char *name, char type)
{
    resp_put_string(t, name);
    resp_open(t, type);
}

void resp_put_command(struct resp_text *t, unsigned argc, const char *const *argv,
                      const size_t *lens)
{
    resp_open(t, '*');
    for (unsigned i = 0; i < argc; i++)
        resp_put_bytes(t, argv[i], lens ? lens[i] : strlen(argv[i]));
    resp_close(t);
}

void resp_put_value(struct resp_text *t, const struct resp_value *v)
{
    if (v->null) {
        resp_put_null(t);
        return;
    }
    switch (v->type) {
    case '+':
        resp_put_status(t, v->text);
        break;
    case '-':
    case '!':
        resp_put_error(t, "%s", v->text);
        break;
    case ':':
        resp_put_integer(t, v->integer);
        break;
    case '#':
        resp_put_bool(t, v->integer);
        break;
    case ',':
        resp_put_double(t, v->number);
        break;
    case '*':
    case '%':
    case '~':
    case '>':
        resp_open(t, v->type);
        for (size_t i = 0; i < v->n; i++)
            resp_put_value(t, &v->items[i]);
        resp_close(t);
        break;
    default: // $ = (
        resp_put_bytes(t, v->text, v->len);
    }
}
