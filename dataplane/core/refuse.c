// What is refused before it is known where it would run, and in which words.
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "dataplane/commands/connection.h"
#include "dataplane/commands/permission.h"
#include "dataplane/commands/transactions_commands.h"
#include "dataplane/core/access.h"
#include "dataplane/core/transaction.h"

// What a refused command is told.
#define ERROR_TEXT_MAX 256

// A browser that was made to send us a request (cross-protocol scripting) is cut off without an
// answer.
static bool is_http(const struct arg *name)
{
    return (name->len == 4 && strncasecmp((const char *)name->ptr, "post", 4) == 0) ||
           (name->len == 5 && strncasecmp((const char *)name->ptr, "host:", 5) == 0);
}

// What its user may not do. False: it may.
static bool forbidden(struct core *c, struct client *client, const struct work *w, char *text,
                      size_t size)
{
    const struct command *command = w->command;
    bool multi = client->flags & CLIENT_MULTI;
    if (!client->authenticated && !c->open && !(command->flags & CMD_NO_AUTH)) {
        snprintf(text, size, "NOAUTH Authentication required.");
        return true;
    }
    if (multi && command->flags & CMD_NO_MULTI) // which is told instead
        return false;
    int at;
    enum access_denial denial = permission_check(client->user, command, w->argv, w->argc, &at);
    if (denial == ACCESS_GRANTED)
        return false;
    client->last_command = command;
    access_denied(c, client, NULL, denial, multi ? ACCESS_MULTI : ACCESS_TOPLEVEL, command,
                  &w->argv[at]);
    permission_error(denial, command, text, size);
    return true;
}

bool route_refuse(struct core *c, struct client *client, const struct work *w)
{
    const struct command *command = w->command;
    char text[ERROR_TEXT_MAX] = "";
    if (!command && is_http(&w->argv[0])) {
        client_abort(c, client, "it speaks HTTP: a web page may be trying to reach this server");
        return true;
    }
    if (command && !command_fits(command, w->argc))
        commands_arity_error(command, text, sizeof(text));
    else if (command && !forbidden(c, client, w, text, sizeof(text)))
        return false;
    client->last_command = command;
    struct reply_slot *slot;
    struct out *out = client_out(c, client, &slot);
    if (command && command->handler == exec_command) {
        reply_errorf(out, "EXECABORT Transaction discarded because of: %s",
                     strncmp(text, "ERR ", 4) == 0 ? text + 4 : text);
        transaction_forget(c, client);
    } else if (!command) {
        commands_reply_unknown(out, w->argv, w->argc);
    } else {
        reply_error(out, text);
    }
    if (command)
        c->command_figures[command->id].rejected++;
    count_error(c, command ? text : "ERR", 0);
    client_replied(c, client, slot);
    return true;
}

// What a client hears in RESP2 while it is subscribed has to be told from replies, so it may ask
// for little. True: the command was refused.
bool refuse_subscribed(struct core *c, struct client *client, const struct work *w)
{
    const struct command *command = w->command;
    bool exec = command && command->handler == exec_command;
    bool told = refused(c, client, w);
    if (!told && !(command->flags & CMD_PUBSUB && command->route == ROUTE_HOME) &&
        command->handler != ping_command && command->handler != quit_command &&
        command->handler != reset_command) {
        struct reply_slot *slot;
        reply_errorf(client_out(c, client, &slot),
                     "%s Can't execute '%s%s%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / "
                     "QUIT / RESET are allowed in this context",
                     exec ? "EXECABORT Transaction discarded because of:" : "ERR",
                     command->parent ? command->parent->name : "", command->parent ? "|" : "",
                     command->name);
        c->command_figures[command->id].rejected++;
        count_error(c, exec ? "EXECABORT" : "ERR", 0);
        client_replied(c, client, slot);
        if (exec)
            transaction_forget(c, client);
        told = true;
    }
    if (told && client->transaction)
        client->transaction->refused = true;
    return told;
}
