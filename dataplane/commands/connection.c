// PING, ECHO, SELECT, QUIT, RESET: what a client asks of its own connection.
#include <mimalloc.h>
#include <string.h>

#include "dataplane/commands/connection.h"
#include "dataplane/commands/families.h"
#include "dataplane/resp/client.h"

static void ping_command(struct request *r)
{
    if (r->argc > 2) {
        request_error(r, "ERR wrong number of arguments for 'ping' command");
        return;
    }
    if (r->argc == 2)
        reply_bulk(r->out, r->argv[1].ptr, r->argv[1].len);
    else
        reply_status(r->out, "PONG");
}

static void echo_command(struct request *r)
{
    reply_bulk(r->out, r->argv[1].ptr, r->argv[1].len);
}

static void select_command(struct request *r)
{
    int64_t db;
    if (!parse_int64(r->argv[1].ptr, r->argv[1].len, &db) || db < INT32_MIN || db > INT32_MAX) {
        request_error(r, "ERR invalid DB index");
        return;
    }
    if (db < 0 || db >= keyspace_databases(store_keyspace(r->store))) {
        request_error(r, "ERR DB index is out of range");
        return;
    }
    r->session->db = r->client->db = (uint32_t)db;
    reply_status(r->out, "OK");
}

static void quit_command(struct request *r)
{
    reply_status(r->out, "OK");
    r->client->flags |= CLIENT_CLOSE_AFTER_REPLY;
}

// As if the client had just connected; only its id, its library and its figures stay.
static void reset_command(struct request *r)
{
    struct client *c = r->client;
    c->flags &= ~(uint32_t)(CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP_NEXT | CLIENT_REPLY_SKIP);
    mi_free(c->name_long);
    c->name_long = NULL;
    c->name[0] = '\0';
    c->no_touch = c->no_evict = r->session->no_touch = r->session->no_evict = false;
    c->db = r->session->db = 0;
    c->resp = r->session->resp = 2;
    c->authenticated = r->session->authenticated = !r->services->password_required(r->core);
    reply_status(r->out, "RESET");
}

const struct command connection_commands[] = {
    {
        .name = "auth",
        .arity = -2,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY,
        .categories = CAT_FAST | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .handler = auth_command,
    },
    {
        .name = "echo",
        .arity = 2,
        .flags = CMD_FAST,
        .categories = CAT_FAST | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .handler = echo_command,
    },
    {
        .name = "hello",
        .arity = -1,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY,
        .categories = CAT_FAST | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .handler = hello_command,
    },
    {
        .name = "ping",
        .arity = -1,
        .flags = CMD_FAST,
        .categories = CAT_FAST | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .handler = ping_command,
    },
    {
        .name = "quit",
        .arity = -1,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY,
        .categories = CAT_FAST | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .handler = quit_command,
    },
    {
        .name = "reset",
        .arity = 1,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY,
        .categories = CAT_FAST | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .handler = reset_command,
    },
    {
        .name = "select",
        .arity = 2,
        .flags = CMD_LOADING | CMD_STALE | CMD_FAST,
        .categories = CAT_FAST | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .handler = select_command,
    },
    {.name = NULL},
};
