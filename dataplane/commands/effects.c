#include "dataplane/commands/effects.h"

#include <string.h>

static void word(struct effects *effects, const void *data, size_t len)
{
    reply_bulk(&effects->out.out, data, len);
}

void effects_start(struct request *r)
{
    r->effects->replaced = false;
    r->effects->dirty = store_statistics(r->store)->dirty;
}

void effects_end(struct request *r)
{
    struct effects *effects = r->effects;
    if (effects->replaced || store_statistics(r->store)->dirty == effects->dirty)
        return;
    effects->commands++;
    reply_array(&effects->out.out, r->argc);
    for (int i = 0; i < r->argc; i++)
        word(effects, r->argv[i].ptr, r->argv[i].len);
}

bool effect_begin(struct request *r, const char *name, unsigned words)
{
    if (!effects_wanted(r))
        return false;
    r->effects->replaced = true;
    r->effects->commands++;
    reply_array(&r->effects->out.out, words);
    word(r->effects, name, strlen(name));
    return true;
}

void effect_bytes(struct request *r, const void *data, size_t len)
{
    word(r->effects, data, len);
}

void effect_text(struct request *r, const char *text)
{
    word(r->effects, text, strlen(text));
}

void effect_integer(struct request *r, int64_t value)
{
    reply_bulk_integer(&r->effects->out.out, value);
}

void effect_arg(struct request *r, int i)
{
    word(r->effects, r->argv[i].ptr, r->argv[i].len);
}

void effects_key_gone(struct effects *effects, const void *key, size_t len)
{
    effects->commands++;
    reply_array(&effects->out.out, 2);
    word(effects, "DEL", 3);
    word(effects, key, len);
}

void effects_field_gone(struct effects *effects, const void *key, size_t len, const void *field,
                        size_t field_len)
{
    effects->commands++;
    reply_array(&effects->out.out, 3);
    word(effects, "HDEL", 4);
    word(effects, key, len);
    word(effects, field, field_len);
}

void effect_nothing(struct request *r)
{
    if (effects_wanted(r))
        r->effects->replaced = true;
}
