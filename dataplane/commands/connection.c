// PING, ECHO, SELECT, QUIT, RESET: what a client asks of its own connection.
#include <mimalloc.h>
#include <string.h>

#include "dataplane/commands/connection.h"
#include "dataplane/resp/client.h"

void ping_command(struct request *r)
{
    if (r->argc > 2) {
        request_error(r, "ERR wrong number of arguments for 'ping' command");
        return;
    }
    if (r->client && r->client->flags & CLIENT_PUBSUB && r->session->resp == 2) {
        reply_array(r->out, 2); // it looks like a message
        reply_bulk_string(r->out, "pong");
        reply_bulk(r->out, r->argc == 2 ? r->argv[1].ptr : (const uint8_t *)"",
                   r->argc == 2 ? r->argv[1].len : 0);
    } else if (r->argc == 2)
        reply_bulk(r->out, r->argv[1].ptr, r->argv[1].len);
    else
        reply_status(r->out, "PONG");
}

void echo_command(struct request *r)
{
    reply_bulk(r->out, r->argv[1].ptr, r->argv[1].len);
}

void select_command(struct request *r)
{
    int64_t db;
    if (!request_integer(r, 1, &db))
        return;
    if (db < INT32_MIN || db > INT32_MAX) {
        request_errorf(r, "ERR value is out of range, value must between %d and %d", INT32_MIN,
                       INT32_MAX);
        return;
    }
    if (db < 0 || db >= keyspace_databases(store_keyspace(r->store))) {
        request_error(r, "ERR DB index is out of range");
        return;
    }
    r->session->db = (uint32_t)db;
    if (r->client) // else it went away in the middle of its transaction
        r->client->db = (uint32_t)db;
    reply_status(r->out, "OK");
}

void quit_command(struct request *r)
{
    reply_status(r->out, "OK");
    r->client->flags |= CLIENT_CLOSE_AFTER_REPLY;
}

// As if the client had just connected; its id, its library, NO-EVICT and its figures stay.
void reset_command(struct request *r)
{
    struct client *c = r->client;
    c->flags &= ~(uint32_t)(CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP_NEXT | CLIENT_REPLY_SKIP);
    if (c->flags & CLIENT_MONITOR)
        r->services->monitor_end(r->core, c);
    r->services->transaction_forget(r);
    r->services->unsubscribe_all(r);
    r->services->tracking_end(r);
    mi_free(c->name_long);
    c->name_long = NULL;
    c->name[0] = '\0';
    c->no_touch = r->session->no_touch = false;
    c->db = r->session->db = 0;
    c->resp = r->session->resp = 2;
    r->services->client_default(r);
    reply_status(r->out, "RESET");
}
