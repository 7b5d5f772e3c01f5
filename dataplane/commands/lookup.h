// How handlers look a key up: the entry with the flags its kind of access asks for, and the check
// of the type with Redis's answer. For the handlers' files only.
#pragma once

#include "dataplane/commands/command.h"

// For a read: counts a hit or a miss, refreshes LRU/LFU (unless the client asked not to).
static inline struct entry *lookup_read(struct request *r, const struct key *key)
{
    unsigned flags = r->session->no_touch ? LOOKUP_NO_TOUCH : 0;
    return store_find(r->store, r->session->db, key, flags);
}

// For a look that is no use of the value: TTL, TYPE, EXISTS.
static inline struct entry *lookup_peek(struct request *r, const struct key *key)
{
    return store_find(r->store, r->session->db, key, LOOKUP_NO_TOUCH);
}

static inline struct entry *lookup_write(struct request *r, const struct key *key)
{
    unsigned flags = LOOKUP_WRITE | (r->session->no_touch ? LOOKUP_NO_TOUCH : 0);
    return store_find(r->store, r->session->db, key, flags);
}

// True when the entry may be used as `type`: it is of that type, or NULL. Answers otherwise.
static inline bool lookup_type_is(struct request *r, const struct entry *e, enum object_type type)
{
    if (!e || entry_type(e) == type)
        return true;
    request_error(r, ERR_WRONGTYPE);
    return false;
}
