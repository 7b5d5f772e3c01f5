// MONITOR: the client is told of every command of all cores from now on.
#include "dataplane/commands/observe.h"
#include "dataplane/resp/client.h"

// Its lines come behind the reply that is still to be written.
bool monitor_start(struct request *r)
{
    if (!r->may_block) // of a transaction
        request_error(r, "ERR MONITOR isn't allowed for DENY BLOCKING client");
    else if (r->client->flags & CLIENT_MONITOR)
        return false; // Redis says nothing, either
    else if (!r->services->monitor_begin(r->core, r->client))
        request_error(r, ERR_OOM);
    else
        return true;
    return false;
}

void monitor_part(struct request *r)
{
    r->services->monitors_look(r->core);
}

void monitor_command(struct request *r)
{
    reply_status(r->out, "OK");
}
