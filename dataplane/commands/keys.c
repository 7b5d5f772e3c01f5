// Commands that delete, look for, rename, copy and move keys, whatever their type.
#include "dataplane/commands/keys_commands.h"

#include "dataplane/commands/lookup.h"
#include "dataplane/commands/steps.h"
#include "dataplane/store/object.h"

enum { COPY_AT_ONCE_BYTES = 128 << 10 }; // objects of up to so much memory are copied in one turn

#define ERR_SAME_OBJECT "ERR source and destination objects are the same"

// DEL, and UNLINK: the store frees in steps what would take long, so they do the same.
void del_command(struct request *r)
{
    int64_t n = 0;
    for (int i = 1; i < r->argc; i++) {
        struct key key = request_key(r, i);
        if (!store_delete(r->store, r->session->db, &key))
            continue;
        request_changed(r, &key, EVENT_GENERIC, "del");
        n++;
    }
    reply_integer(r->out, n);
}

// A key that is named twice counts twice.
void exists_command(struct request *r)
{
    int64_t n = 0;
    for (int i = 1; i < r->argc; i++) {
        struct key key = request_key(r, i);
        n += lookup_peek(r, &key) != NULL;
    }
    reply_integer(r->out, n);
}

// Refreshes LRU/LFU even for a client that asked for CLIENT NO-TOUCH: that is what it is for.
void touch_command(struct request *r)
{
    int64_t n = 0;
    for (int i = 1; i < r->argc; i++) {
        struct key key = request_key(r, i);
        n += store_find(r->store, r->session->db, &key, 0) != NULL;
    }
    reply_integer(r->out, n);
}

void type_command(struct request *r)
{
    struct key key = request_key(r, 1);
    struct entry *e = lookup_peek(r, &key);
    reply_status(r->out, e ? type_name(entry_type(e)) : "none");
}

static void rename_key(struct request *r, bool only_new)
{
    struct key from = request_key(r, 1), to = request_key(r, 2);
    unsigned db = r->session->db;
    if (!lookup_write(r, &from)) {
        request_error(r, ERR_NO_KEY);
        return;
    }
    bool same = key_same(&from, &to);
    if (only_new && (same || lookup_write(r, &to))) {
        reply_integer(r->out, 0);
        return;
    }
    if (!same) {
        if (!store_rename(r->store, db, &from, db, &to)) {
            request_error(r, ERR_OOM);
            return;
        }
        request_changed(r, &from, EVENT_GENERIC, "rename_from");
        request_changed(r, &to, EVENT_GENERIC, "rename_to");
    }
    if (only_new)
        reply_integer(r->out, 1);
    else
        reply_status(r->out, "OK");
}

void rename_command(struct request *r)
{
    rename_key(r, false);
}

void renamenx_command(struct request *r)
{
    rename_key(r, true);
}

bool keys_parse_index(struct request *r, int i, const char *error, int32_t *index)
{
    int64_t value;
    if (!parse_int64(r->argv[i].ptr, r->argv[i].len, &value)) {
        request_error(r, error ? error : ERR_NOT_INTEGER);
        return false;
    }
    if (value < INT32_MIN || value > INT32_MAX) {
        if (error)
            request_error(r, error);
        else
            request_errorf(r, "ERR value is out of range, value must between %d and %d", INT32_MIN,
                           INT32_MAX);
        return false;
    }
    *index = (int32_t)value;
    return true;
}

bool keys_check_database(struct request *r, int32_t index)
{
    if (index >= 0 && (unsigned)index < keyspace_databases(store_keyspace(r->store)))
        return true;
    request_error(r, "ERR DB index is out of range");
    return false;
}

static bool parse_database(struct request *r, int i, unsigned *db)
{
    int32_t index;
    if (!keys_parse_index(r, i, NULL, &index) || !keys_check_database(r, index))
        return false;
    *db = (unsigned)index;
    return true;
}

static bool parse_copy_options(struct request *r, unsigned *to_db, bool *replace)
{
    for (int i = 3; i < r->argc; i++) {
        if (request_is(r, i, "replace")) {
            *replace = true;
        } else if (request_is(r, i, "db") && i + 1 < r->argc) {
            if (!parse_database(r, ++i, to_db))
                return false;
        } else {
            request_error(r, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

// A big object is copied in steps, before it is put under its new name.
struct copying {
    struct object_copying *object;
    enum object_type type;
    enum object_encoding encoding;
};

static void copying_drop(void *state)
{
    struct copying *c = state;
    void *object = c->object ? object_copy_end(c->object) : NULL;
    if (object)
        object_free(c->type, c->encoding, object);
}

struct copy {
    struct key from, to;
    unsigned from_db, to_db;
    bool replace;
};

static bool copy_parse(struct request *r, struct copy *c)
{
    *c = (struct copy){.from = request_key(r, 1), .to = request_key(r, 2)};
    c->from_db = c->to_db = r->session->db;
    if (!parse_copy_options(r, &c->to_db, &c->replace))
        return false;
    if (c->from_db != c->to_db || !key_same(&c->from, &c->to))
        return true;
    request_error(r, ERR_SAME_OBJECT);
    return false;
}

static bool copy_refused(struct request *r, const struct copy *c)
{
    return store_find(r->store, c->to_db, &c->to, LOOKUP_WRITE | LOOKUP_NO_TOUCH) && !c->replace;
}

static void copy_done(struct request *r, const struct copy *c, bool ok)
{
    if (!ok) {
        request_error(r, ERR_OOM);
        return;
    }
    request_changed_in(r, c->to_db, &c->to, EVENT_GENERIC, "copy_to");
    reply_integer(r->out, 1);
}

static bool copying_step(struct request *r, void *state)
{
    struct copying *made = state;
    struct copy c;
    if (!object_copy_step(r->store, made->object, STEPS_ELEMENTS))
        return false;
    void *object = object_copy_end(made->object);
    made->object = NULL;
    bool parsed = copy_parse(r, &c); // as it did before
    if (!object) {
        copy_done(r, &c, false);
    } else if (!parsed) {
        store_discard_object(r->store, made->type, made->encoding, object);
    } else if (!store_find(r->store, c.from_db, &c.from, LOOKUP_WRITE | LOOKUP_NO_TOUCH) ||
               copy_refused(r, &c)) { // its time may be over meanwhile
        store_discard_object(r->store, made->type, made->encoding, object);
        reply_integer(r->out, 0);
    } else {
        copy_done(r, &c, store_copy_made(r->store, c.from_db, &c.from, c.to_db, &c.to, object));
    }
    return true;
}

// True: the copy is made in steps.
static bool copy_in_steps(struct request *r, const struct entry *e)
{
    if (entry_type(e) == OBJ_STRING || entry_memory(e) <= COPY_AT_ONCE_BYTES)
        return false;
    struct object_copying *object =
        object_copy_begin(entry_type(e), entry_encoding(e), entry_object(e));
    struct copying *made =
        object ? request_work(r, copying_step, copying_drop, sizeof(*made)) : NULL;
    if (made)
        *made = (struct copying){
            .object = object, .type = entry_type(e), .encoding = entry_encoding(e)};
    else if (object)
        object_copy_end(object);
    return made;
}

void copy_command(struct request *r)
{
    struct copy c;
    if (!copy_parse(r, &c))
        return;
    struct entry *e = lookup_read(r, &c.from);
    if (!e || copy_refused(r, &c))
        reply_integer(r->out, 0);
    else if (!copy_in_steps(r, e))
        copy_done(r, &c, store_copy(r->store, c.from_db, &c.from, c.to_db, &c.to));
}

void move_command(struct request *r)
{
    struct key key = request_key(r, 1);
    unsigned from_db = r->session->db, to_db;
    if (!parse_database(r, 2, &to_db))
        return;
    if (from_db == to_db) {
        request_error(r, ERR_SAME_OBJECT);
        return;
    }
    if (!lookup_write(r, &key) ||
        store_find(r->store, to_db, &key, LOOKUP_WRITE | LOOKUP_NO_TOUCH)) {
        reply_integer(r->out, 0);
    } else if (store_rename(r->store, from_db, &key, to_db, &key)) {
        request_changed(r, &key, EVENT_GENERIC, "move_from");
        request_changed_in(r, to_db, &key, EVENT_GENERIC, "move_to");
        reply_integer(r->out, 1);
    } else {
        request_error(r, ERR_OOM);
    }
}
