#include "dataplane/commands/effects.h"

#include <string.h>

static void word(struct effects *effects, const void *data, size_t len)
{
    reply_bulk(&effects->out.out, data, len);
}

// What follows is about this database.
static void about_db(struct effects *effects, unsigned db)
{
    struct out *out = &effects->out.out;
    if (effects->unit && !effects->commands)
        effects->db = effects->first_db = db;
    if (db == effects->db)
        return;
    effects->db = db;
    effects->commands++;
    reply_array(out, 2);
    word(effects, "SELECT", strlen("SELECT"));
    reply_bulk_integer(out, db);
}

// The start of a command of so many words on a database.
static void command(struct effects *effects, unsigned db, unsigned words)
{
    about_db(effects, db);
    effects->commands++;
    reply_array(&effects->out.out, words);
}

static void bracket(struct effects *effects, const char *name)
{
    effects->commands++;
    reply_array(&effects->out.out, 1);
    word(effects, name, strlen(name));
}

void effects_unit(struct effects *unit)
{
    *unit = (struct effects){.unit = true};
    outbuf_init(&unit->out);
}

void effects_append(struct effects *to, struct effects *unit)
{
    bool several = to && unit->commands > 1 && !to->unit;
    if (to && unit->commands) {
        about_db(to, unit->first_db);
        if (several)
            bracket(to, "MULTI");
        outbuf_move(&unit->out, &to->out.out);
        to->commands += unit->commands;
        to->db = unit->db;
        if (several)
            bracket(to, "EXEC");
    }
    outbuf_clear(&unit->out);
    effects_unit(unit);
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
    command(effects, r->session->db, (unsigned)r->argc);
    for (int i = 0; i < r->argc; i++)
        word(effects, r->argv[i].ptr, r->argv[i].len);
}

bool effect_begin(struct request *r, const char *name, unsigned words)
{
    if (!effects_wanted(r))
        return false;
    r->effects->replaced = true;
    command(r->effects, r->session->db, words);
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

void effects_gone(struct effects *effects, enum store_gone why, unsigned db, const struct key *key,
                  const void *field, size_t field_len)
{
    bool whole = why != GONE_FIELD;
    command(effects, db, whole ? 2 : 3);
    word(effects, whole ? "DEL" : "HDEL", whole ? strlen("DEL") : strlen("HDEL"));
    word(effects, key->ptr, key->len);
    if (!whole)
        word(effects, field, field_len);
    effects->dirty++; // no doing of the command that met it
}

void effect_nothing(struct request *r)
{
    if (effects_wanted(r))
        r->effects->replaced = true;
}
