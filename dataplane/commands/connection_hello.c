// AUTH and HELLO: who the client is, and which protocol it speaks.
#include "dataplane/commands/connection.h"

#include <mimalloc.h>
#include <string.h>

#include "dataplane/resp/client.h"

bool connection_valid_name(const struct arg *name)
{
    for (size_t i = 0; i < name->len; i++)
        if (name->ptr[i] < '!' || name->ptr[i] > '~')
            return false;
    return true;
}

bool connection_set_name(struct client *c, const struct arg *name)
{
    char *longer = NULL;
    if (name->len >= sizeof(c->name)) {
        longer = mi_malloc(name->len + 1);
        if (!longer)
            return false;
    }
    mi_free(c->name_long);
    c->name_long = longer;
    char *to = longer ? longer : c->name;
    memcpy(to, name->ptr, name->len);
    to[name->len] = '\0';
    return true;
}

static bool authenticate(struct request *r, const struct arg *user, const struct arg *password)
{
    if (r->services->authenticate(r, user, password))
        return true;
    request_error(r, "WRONGPASS invalid username-password pair or user is disabled.");
    return false;
}

void auth_command(struct request *r)
{
    if (r->argc > 3) {
        request_error(r, ERR_SYNTAX);
        return;
    }
    struct arg user = {.ptr = (const uint8_t *)DEFAULT_USER, .len = strlen(DEFAULT_USER)};
    if (r->argc == 3)
        user = r->argv[1];
    else if (!r->services->password_required(r->core)) {
        request_error(r, "ERR AUTH <password> called without any password configured for the "
                         "default user. Are you sure your configuration is correct?");
        return;
    }
    if (authenticate(r, &user, &r->argv[r->argc - 1]))
        reply_status(r->out, "OK");
}

static bool hello_name(struct request *r, const struct arg *name)
{
    if (!connection_valid_name(name))
        request_error(r, ERR_CLIENT_NAME);
    else if (!connection_set_name(r->client, name))
        request_error(r, ERR_OOM);
    else
        return true;
    return false;
}

// Options take effect one by one, in their order: a later one that is wrong does not undo them.
// Answers and returns false at the first that is wrong.
static bool hello_options(struct request *r, int64_t *protocol)
{
    if (r->argc >= 2) {
        if (!parse_int64(r->argv[1].ptr, r->argv[1].len, protocol)) {
            request_error(r, "ERR Protocol version is not an integer or out of range");
            return false;
        }
        if (*protocol < 2 || *protocol > 3) {
            request_error(r, "NOPROTO unsupported protocol version");
            return false;
        }
    }
    for (int i = 2; i < r->argc; i++) {
        int more = r->argc - 1 - i;
        if (request_is(r, i, "auth") && more >= 2) {
            if (!authenticate(r, &r->argv[i + 1], &r->argv[i + 2]))
                return false;
            i += 2;
        } else if (request_is(r, i, "setname") && more >= 1) {
            if (!hello_name(r, &r->argv[i + 1]))
                return false;
            i++;
        } else {
            request_errorf(r, "ERR Syntax error in HELLO option '%.*s'", (int)r->argv[i].len,
                           (const char *)r->argv[i].ptr);
            return false;
        }
    }
    return true;
}

void hello_command(struct request *r)
{
    int64_t protocol = 0; // as it is
    if (!hello_options(r, &protocol))
        return;
    if (!r->session->authenticated) {
        request_error(r, "NOAUTH HELLO must be called with the client already authenticated, "
                         "otherwise the HELLO AUTH <user> <pass> option can be used to "
                         "authenticate the client and select the RESP protocol version at the "
                         "same time");
        return;
    }
    if (protocol)
        r->session->resp = r->client->resp = (uint8_t)protocol;

    struct server_figures figures;
    r->services->server_figures(r->core, &figures);
    reply_map(r->out, r->session->resp, 7);
    reply_bulk_string(r->out, "server");
    reply_bulk_string(r->out, "redis");
    reply_bulk_string(r->out, "version");
    reply_bulk_string(r->out, figures.redis_version);
    reply_bulk_string(r->out, "proto");
    reply_integer(r->out, r->session->resp);
    reply_bulk_string(r->out, "id");
    reply_integer(r->out, (int64_t)r->client->id);
    reply_bulk_string(r->out, "mode");
    reply_bulk_string(r->out, "standalone");
    reply_bulk_string(r->out, "role");
    reply_bulk_string(r->out, "master");
    reply_bulk_string(r->out, "modules");
    reply_array(r->out, 0);
}
