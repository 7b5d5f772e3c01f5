// CLIENT PAUSE and UNPAUSE: commands of all clients of all cores wait for a while.
#include "dataplane/commands/blocking.h"
#include "dataplane/commands/connection.h"

// A century: times that do not fit 63 bits are not added to the clock.
#define PAUSE_MAX_US (UINT64_C(100) * 365 * 86400 * 1000000)

bool client_pause_start(struct request *r)
{
    bool all = true;
    uint64_t timeout_us;
    if (r->argc > 4) {
        request_errorf(r, "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try %s",
                       (int)r->argv[1].len, (const char *)r->argv[1].ptr, "CLIENT HELP.");
        return false;
    }
    if (r->argc == 4) {
        all = request_is(r, 3, "all");
        if (!all && !request_is(r, 3, "write")) {
            request_error(r, "ERR CLIENT PAUSE mode must be WRITE or ALL");
            return false;
        }
    }
    if (!request_timeout_milliseconds(r, 2, &timeout_us))
        return false;
    if (timeout_us == INT64_MAX) { // what Redis 7.0 adds to its clock turns negative there
        request_error(r, "ERR timeout is out of range");
        return false;
    }
    if (timeout_us > PAUSE_MAX_US)
        timeout_us = PAUSE_MAX_US;
    r->services->clients_pause(r->core, r->now_us + timeout_us, all);
    return true;
}

bool client_unpause_start(struct request *r)
{
    r->services->clients_pause(r->core, 0, false);
    return true;
}

void client_pause_part(struct request *r)
{
    r->services->clients_pause_adopt(r->core);
}

void client_pause_command(struct request *r)
{
    reply_status(r->out, "OK");
}
