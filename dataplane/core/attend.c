// What stands before a command but for its own errors: a script that runs for too long, a pause.
// Home looks here when `core->attention` says that there is something, and only then.
#include "dataplane/commands/transactions_commands.h"
#include "dataplane/core/monitor.h"
#include "dataplane/core/script.h"
#include "dataplane/core/transaction.h"

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
    if (c->attention & ATTEND_SCRIPT && w->command->route == ROUTE_SCRIPT) {
        route_later(c, client);
        return ATTENDED_LATER;
    }
    return ATTENDED_RUN;
}
