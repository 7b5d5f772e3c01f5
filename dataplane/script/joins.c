// What the text of a script tells of the keys that it touches before it has run. One that joins
// strings may make names of keys out of parts, and need not do so the first time: libraries of
// queues go a short way while a queue is empty and touch the keys of its jobs later, after they
// have written. Such a script is given all slots from the start, rather than an error in the
// middle.
#include <string.h>

#include "dataplane/script/internal.h"

// Behind a long bracket ([[ … ]], [=[ … ]=]) that begins at `at`; `at` where none does.
static const char *skip_long(const char *at, const char *end)
{
    const char *p = at + 1;
    while (p < end && *p == '=')
        p++;
    if (p >= end || *p != '[')
        return at;
    size_t level = (size_t)(p - at) - 1;
    for (p++; p < end; p++) {
        if (*p != ']' || (size_t)(end - p) < level + 2 || p[level + 1] != ']')
            continue;
        size_t n = 0;
        while (n < level && p[n + 1] == '=')
            n++;
        if (n == level)
            return p + level + 2;
    }
    return end;
}

static const char *skip_quoted(const char *at, const char *end)
{
    const char *p = at + 1;
    while (p < end && *p != *at)
        p += *p == '\\' ? 2 : 1;
    return p < end ? p + 1 : end;
}

static const char *skip_comment(const char *at, const char *end)
{
    const char *p = at + 2;
    if (p < end && *p == '[') {
        const char *behind = skip_long(p, end);
        if (behind != p)
            return behind;
    }
    const char *line = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
    return line ? line : end;
}

bool script_joins(const char *text, size_t len)
{
    const char *end = text + len;
    for (const char *p = text; p < end;) {
        size_t left = (size_t)(end - p);
        if (*p == '"' || *p == '\'') {
            p = skip_quoted(p, end);
        } else if (*p == '-' && left > 1 && p[1] == '-') {
            p = skip_comment(p, end);
        } else if (*p == '[') {
            const char *behind = skip_long(p, end);
            p = behind == p ? p + 1 : behind;
        } else if (left > 2 && memcmp(p, "...", 3) == 0) {
            p += 3;
        } else if (left > 1 && memcmp(p, "..", 2) == 0) {
            return true;
        } else {
            p++;
        }
    }
    return false;
}
