// What stands before a command but for its own errors: a script that runs for too long, a pause.
// Home looks here when `core->attention` says that there is something, and only then.
#include "dataplane/core/monitor.h"

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
    return ATTENDED_RUN;
}
