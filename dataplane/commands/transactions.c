#include "dataplane/commands/transactions_commands.h"

#include "dataplane/commands/services.h"
#include "dataplane/resp/reply.h"

void multi_command(struct request *r)
{
    if (!r->services->transaction_begin(r))
        request_error(r, "ERR MULTI calls can not be nested");
    else if (!r->replied_error)
        reply_status(r->out, "OK");
}

void exec_command(struct request *r)
{
    request_error(r, "ERR EXEC without MULTI");
}

void discard_command(struct request *r)
{
    if (r->services->transaction_discard(r))
        reply_status(r->out, "OK");
    else
        request_error(r, "ERR DISCARD without MULTI");
}

void watch_command(struct request *r)
{
    if (!r->client) // it went away while its slots were on their way
        return;
    for (int i = 1; i < r->argc; i++) {
        struct key key = request_key(r, i);
        if (!r->services->watch(r, &key)) {
            request_error(r, ERR_OOM);
            return;
        }
    }
    reply_status(r->out, "OK");
}

void unwatch_command(struct request *r)
{
    r->services->unwatch(r);
    reply_status(r->out, "OK");
}
