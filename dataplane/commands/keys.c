// Commands that delete, look for, rename, copy and move keys, whatever their type.
#include "dataplane/commands/keys_commands.h"

#include "dataplane/commands/lookup.h"

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

void copy_command(struct request *r)
{
    struct key from = request_key(r, 1), to = request_key(r, 2);
    unsigned from_db = r->session->db, to_db = from_db;
    bool replace = false;
    if (!parse_copy_options(r, &to_db, &replace))
        return;
    if (from_db == to_db && key_same(&from, &to)) {
        request_error(r, ERR_SAME_OBJECT);
        return;
    }
    if (!lookup_read(r, &from) ||
        (store_find(r->store, to_db, &to, LOOKUP_WRITE | LOOKUP_NO_TOUCH) && !replace)) {
        reply_integer(r->out, 0);
    } else if (store_copy(r->store, from_db, &from, to_db, &to)) {
        request_changed_in(r, to_db, &to, EVENT_GENERIC, "copy_to");
        reply_integer(r->out, 1);
    } else {
        request_error(r, ERR_OOM);
    }
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
