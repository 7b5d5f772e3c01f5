// What stands before a command but for its own errors: a script that runs for too long, a pause.
// Home looks here when `core->attention` says that there is something, and only then.
#include "dataplane/commands/transactions_commands.h"
#include "dataplane/core/monitor.h"
#include "dataplane/core/script.h"
#include "dataplane/core/transaction.h"

// --- CLIENT PAUSE --------------------------------------------------------------------------------
//
// One word of the process says until when and for what; each core takes it over before the command
// is answered. A command that is held up waits as a copy in its client's list of pending ones, and
// nothing more of the client is parsed, so that a paused client holds what it had sent in one batch
// and what a stream keeps unread. What was taken before the pause goes on.

// Clients that go on in one turn, once a pause is over.
#define RESUMED_A_TURN 256

static const uint32_t may_write = CMD_WRITE | CMD_MAY_REPLICATE;

static bool holds_up(struct core *c, const struct client *client, const struct work *w)
{
    if (client->flags & CLIENT_INTERNAL)
        return false;
    if (c->pause.all)
        return true;
    if (w->command->handler == exec_command && client->transaction)
        return client->transaction->flags & may_write;
    return scripts_flags(c, w) & may_write;
}

static void postpone(struct core *c, struct client *client, const struct work *w)
{
    client->last_command = w->command;
    if (client->flags & CLIENT_EOF) { // it would not wait for the end
        client_close(c, client);
        return;
    }
    if (client->flags & CLIENT_POSTPONED)
        return;
    client->flags |= CLIENT_POSTPONED;
    client->prev_postponed = c->pause.last;
    client->next_postponed = NULL;
    if (c->pause.last)
        c->pause.last->next_postponed = client;
    else
        c->pause.first = client;
    c->pause.last = client;
    c->pause.postponed++;
}

void attend_forget(struct core *c, struct client *client)
{
    client->flags &= ~(uint32_t)CLIENT_POSTPONED;
    if (client->prev_postponed)
        client->prev_postponed->next_postponed = client->next_postponed;
    else
        c->pause.first = client->next_postponed;
    if (client->next_postponed)
        client->next_postponed->prev_postponed = client->prev_postponed;
    else
        c->pause.last = client->prev_postponed;
    c->pause.postponed--;
}

static bool paused(const struct core *c)
{
    return c->pause.until_us > c->now_us;
}

bool attend_paused(struct core *c, struct client *client, const struct work *w)
{
    bool held = paused(c) && holds_up(c, client, w);
    if (held)
        postpone(c, client, w);
    return held;
}

static void pause_clients(struct core *c, uint64_t until_us, bool all)
{
    uint64_t now = c->now_us, before = atomic_load(&c->server->pause), after;
    do {
        uint64_t end = until_us;
        bool every = all;
        if (until_us && before / 2 > now) {
            every |= before & 1;
            if (before / 2 > end)
                end = before / 2;
        }
        after = end * 2 + every;
    } while (!atomic_compare_exchange_weak(&c->server->pause, &before, until_us ? after : 0));
}

static void pause_adopt(struct core *c)
{
    uint64_t word = atomic_load(&c->server->pause);
    c->pause.until_us = word / 2;
    c->pause.all = word & 1;
    store_stand_still(c->store, paused(c));
    if (paused(c) || c->pause.first)
        c->attention |= ATTEND_PAUSED;
    else
        c->attention &= ~(uint32_t)ATTEND_PAUSED;
}

void attend_services(struct services *services)
{
    services->clients_pause = pause_clients;
    services->clients_pause_adopt = pause_adopt;
}

// --- scripts -------------------------------------------------------------------------------------

bool attend_busy(struct core *c, struct client *client, const struct work *w)
{
    if (w->command->flags & CMD_ALLOW_BUSY)
        return false;
    const char *text = scripts_busy(c);
    struct reply_slot *slot;
    struct out *out = client_out(c, client, &slot);
    if (w->command->handler == exec_command && client->flags & CLIENT_MULTI) {
        reply_errorf(out, "EXECABORT Transaction discarded because of: %s", text);
        transaction_forget(c, client);
    } else {
        reply_error(out, text);
    }
    c->command_figures[w->command->id].rejected++;
    count_error(c, text, 0);
    client_replied(c, client, slot);
    return true;
}

// --- home ----------------------------------------------------------------------------------------

enum attended attend(struct core *c, struct client *client, const struct work *w)
{
    if (client->flags & CLIENT_MONITOR && w->command->flags & MONITOR_MAY_NOT) {
        struct reply_slot *slot;
        reply_error(client_out(c, client, &slot), ERR_MONITOR_KEYS);
        c->command_figures[w->command->id].rejected++;
        count_error(c, ERR_MONITOR_KEYS, 0);
        client_replied(c, client, slot);
        return ATTENDED_DONE;
    }
    if (c->attention & ATTEND_BUSY && attend_busy(c, client, w))
        return ATTENDED_DONE;
    if (attend_paused(c, client, w))
        return ATTENDED_LATER;
    if (c->attention & ATTEND_SCRIPT && w->command->route == ROUTE_SCRIPT &&
        scripts_place(c, w) != SCRIPT_THERE) {
        route_later(c, client);
        return ATTENDED_LATER;
    }
    return ATTENDED_RUN;
}

bool attend_turn(struct core *c)
{
    if (!(c->attention & ATTEND_PAUSED) || paused(c))
        return false;
    for (unsigned n = 0; n < RESUMED_A_TURN && c->pause.first; n++) {
        struct client *client = c->pause.first;
        attend_forget(c, client);
        route_later(c, client);
    }
    pause_adopt(c); // which ends it, when nobody is left
    return c->pause.first;
}

uint64_t attend_due_us(const struct core *c)
{
    return c->attention & ATTEND_PAUSED ? c->pause.until_us : UINT64_MAX;
}
