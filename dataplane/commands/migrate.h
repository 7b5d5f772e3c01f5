// What MIGRATE and the core make together. The handler runs twice: first it writes what is to be
// sent and hands that to the core (services->migrate), which talks to the target while the keys'
// slots stay borrowed; then it runs again with the result in r->parts, deletes what the target
// accepted, and answers.
#pragma once

#include "common/outbuf.h"
#include "dataplane/commands/command.h"

enum migrate_failure { MIGRATE_DONE, MIGRATE_CONNECTING, MIGRATE_WRITING, MIGRATE_READING };

#define MIGRATE_ERROR_MAX 1024 // bytes of a target's reply that are looked at

// One transfer. Made by the handler; the core's from services->migrate on.
struct migrate {
    struct outbuf out; // AUTH, SELECT and RESTORE commands
    char *host;        // mimalloc
    uint16_t port;     // 0: none that one could connect to
    uint64_t timeout_us;
    unsigned greetings; // replies that are due before those of RESTORE
    unsigned n_keys;    // RESTORE commands
    // The result.
    enum migrate_failure failure;
    int connect_error;             // errno of a connection that could not even begin, 0: none
    unsigned replies;              // that came, of all
    char error[MIGRATE_ERROR_MAX]; // the first error that the target replied, "" for none
    bool greeting_failed;          // then no key counts as accepted
    struct migrate_key {
        int argument; // index of the key
        bool accepted;
    } keys[];
};
void migrate_free(struct migrate *m);
// Takes in a line of the target's replies, without its end.
void migrate_reply(struct migrate *m, const char *line);
static inline bool migrate_complete(const struct migrate *m)
{
    return m->replies == m->greetings + m->n_keys;
}
