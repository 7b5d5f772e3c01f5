// CLIENT: the subcommands about the caller's own connection.
#include "dataplane/commands/connection.h"

#include <string.h>

#include "dataplane/commands/families.h"
#include "dataplane/resp/client.h"

void client_id_command(struct request *r)
{
    reply_integer(r->out, (int64_t)r->client->id);
}

void client_getname_command(struct request *r)
{
    const char *name = client_name(r->client);
    if (*name)
        reply_bulk_string(r->out, name);
    else
        reply_null(r->out, r->session->resp);
}

void client_setname_command(struct request *r)
{
    if (!connection_valid_name(&r->argv[2]))
        request_error(r, ERR_CLIENT_NAME);
    else if (!connection_set_name(r->client, &r->argv[2]))
        request_error(r, ERR_OOM);
    else
        reply_status(r->out, "OK");
}

// Names and versions of libraries are for people and short; what does not fit is cut.
static void note(char *to, size_t size, const struct arg *from)
{
    size_t n = from->len < size - 1 ? from->len : size - 1;
    memcpy(to, from->ptr, n);
    to[n] = '\0';
}

void client_setinfo_command(struct request *r)
{
    struct client *c = r->client;
    const struct arg *attribute = &r->argv[2], *value = &r->argv[3];
    bool name = request_is(r, 2, "lib-name");
    if (!name && !request_is(r, 2, "lib-ver")) {
        request_errorf(r, "ERR Unrecognized option '%.*s'", (int)attribute->len,
                       (const char *)attribute->ptr);
        return;
    }
    if (!connection_valid_name(value)) {
        request_errorf(r, "ERR %.*s cannot contain spaces, newlines or special characters.",
                       (int)attribute->len, (const char *)attribute->ptr);
        return;
    }
    if (name)
        note(c->lib_name, sizeof(c->lib_name), value);
    else
        note(c->lib_version, sizeof(c->lib_version), value);
    reply_status(r->out, "OK");
}

// Reads ON or OFF, or answers with a syntax error.
static bool on_or_off(struct request *r, bool *on)
{
    *on = request_is(r, 2, "on");
    if (*on || request_is(r, 2, "off"))
        return true;
    request_error(r, ERR_SYNTAX);
    return false;
}

void client_no_evict_command(struct request *r)
{
    bool on;
    if (!on_or_off(r, &on))
        return;
    r->session->no_evict = r->client->no_evict = on;
    reply_status(r->out, "OK");
}

void client_no_touch_command(struct request *r)
{
    bool on;
    if (!on_or_off(r, &on))
        return;
    r->session->no_touch = r->client->no_touch = on;
    reply_status(r->out, "OK");
}

// OFF and SKIP are themselves not answered.
void client_reply_command(struct request *r)
{
    struct client *c = r->client;
    if (request_is(r, 2, "on")) {
        c->flags &= ~(uint32_t)(CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT);
        reply_status(r->out, "OK");
    } else if (request_is(r, 2, "off")) {
        c->flags |= CLIENT_REPLY_OFF;
    } else if (request_is(r, 2, "skip")) {
        if (!(c->flags & CLIENT_REPLY_OFF))
            c->flags |= CLIENT_REPLY_SKIP_NEXT;
    } else {
        request_error(r, ERR_SYNTAX);
    }
}

void client_help_command(struct request *r)
{
    static const char *const lines[] = {
        "CACHING (YES|NO)",
        "    Whether the keys that the next command reads are kept by the client.",
        "GETNAME",
        "    The name of this connection.",
        "GETREDIR",
        "    The connection that is told of changes for this one.",
        "ID",
        "    The number of this connection.",
        "INFO",
        "    A line about this connection.",
        "KILL <ip:port>",
        "    Closes the connection from that address.",
        "KILL <option> <value> [<option> <value> ...]",
        "    Closes the connections that all options fit. The options are:",
        "    * ID <client-id>",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "    * USER <username>",
        "    * ADDR <ip:port>       (the client's side)",
        "    * LADDR <ip:port>      (the server's side)",
        "    * MAXAGE <seconds>     (connections that are at least so old)",
        "    * SKIPME (YES|NO)      (spares this connection; the default)",
        "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB) | ID <client-id> [<client-id> ...]]",
        "    A line about each connection.",
        "NO-EVICT (ON|OFF)",
        "    Spares this connection when client memory has to be freed.",
        "NO-TOUCH (ON|OFF)",
        "    Commands of this connection leave the age of keys as it is.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Lets commands of all connections wait for so many milliseconds, or those that may "
        "write.",
        "REPLY (ON|OFF|SKIP)",
        "    Whether this connection gets replies.",
        "SETINFO (LIB-NAME|LIB-VER) <value>",
        "    Notes which library the client uses.",
        "SETNAME <name>",
        "    Names this connection.",
        "TRACKING (ON|OFF) [REDIRECT <client-id>] [BCAST] [PREFIX <prefix> [...]] [OPTIN] [OPTOUT]",
        "    [NOLOOP]",
        "    Tells this connection of changes to keys that it has read.",
        "TRACKINGINFO",
        "    How this connection is told of changes.",
        "UNBLOCK <client-id> [TIMEOUT|ERROR]",
        "    Ends the waiting of that connection's command, with that outcome.",
        "UNPAUSE",
        "    Ends what PAUSE began.",
        NULL,
    };
    request_help(r, "CLIENT", lines);
}
