// Short lists of texts: patterns, hashes of passwords, first arguments.
#include <mimalloc.h>
#include <string.h>

#include "dataplane/access/internal.h"

bool texts_add(struct texts *t, const void *ptr, size_t len, unsigned mark)
{
    if (t->n == t->room) {
        unsigned room = t->room ? 2 * t->room : 2;
        struct text *at = mi_reallocn(t->at, room, sizeof(*at));
        if (!at)
            return false;
        t->at = at;
        t->room = room;
    }
    char *copy = mi_malloc(len + 1);
    if (!copy)
        return false;
    memcpy(copy, ptr, len);
    copy[len] = '\0';
    t->at[t->n++] = (struct text){copy, len, mark};
    return true;
}

int texts_find(const struct texts *t, const void *ptr, size_t len)
{
    for (unsigned i = 0; i < t->n; i++)
        if (t->at[i].len == len && memcmp(t->at[i].ptr, ptr, len) == 0)
            return (int)i;
    return -1;
}

void texts_remove(struct texts *t, unsigned i)
{
    mi_free(t->at[i].ptr);
    t->n--;
    memmove(&t->at[i], &t->at[i + 1], (t->n - i) * sizeof(*t->at));
}

void texts_clear(struct texts *t)
{
    for (unsigned i = 0; i < t->n; i++)
        mi_free(t->at[i].ptr);
    mi_free(t->at);
    *t = (struct texts){0};
}

bool texts_copy(struct texts *to, const struct texts *from)
{
    *to = (struct texts){0};
    for (unsigned i = 0; i < from->n; i++)
        if (!texts_add(to, from->at[i].ptr, from->at[i].len, from->at[i].mark))
            return false;
    return true;
}
