// ACL: what users may do, what there is to allow, what was denied.
#include "dataplane/commands/acl.h"

#include <string.h>
#include <unistd.h>

#include "common/block.h"
#include "common/outbuf.h"
#include "dataplane/commands/families.h"
#include "dataplane/commands/permission.h"

static void wrong_arguments(struct request *r)
{
    request_errorf(r,
                   "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try ACL HELP.",
                   (int)r->argv[1].len, (const char *)r->argv[1].ptr);
}

// --- CAT -----------------------------------------------------------------------------------------

static void reply_category(struct request *r, uint32_t category)
{
    const struct access_table *t = permission_table();
    int64_t n = 0;
    for (unsigned i = 0; i < t->n_commands; i++)
        n += (t->commands[i].categories & category) != 0;
    reply_array(r->out, n);
    for (unsigned i = 0; i < t->n_commands; i++)
        if (t->commands[i].categories & category)
            reply_bulk_string(r->out, t->commands[i].name);
}

void acl_cat_command(struct request *r)
{
    const struct access_table *t = permission_table();
    if (r->argc > 3) {
        wrong_arguments(r);
        return;
    }
    if (r->argc == 2)
        reply_array(r->out, t->n_categories);
    for (unsigned i = 0; i < t->n_categories; i++) {
        if (r->argc == 2) {
            reply_bulk_string(r->out, t->categories[i]);
        } else if (request_is(r, 2, t->categories[i])) {
            reply_category(r, 1u << i);
            return;
        }
    }
    if (r->argc == 3)
        request_errorf(r, "ERR Unknown category '%.*s'", (int)r->argv[2].len,
                       (const char *)r->argv[2].ptr);
}

// --- GENPASS -------------------------------------------------------------------------------------

void acl_genpass_command(struct request *r)
{
    enum { BITS = 256, BITS_MAX = 4096, BITS_OF_DIGIT = 4, GETENTROPY_MAX = 256 };
    static const char digits[] = "0123456789abcdef";
    char text[BITS_MAX / BITS_OF_DIGIT];
    int64_t bits = BITS;
    if (r->argc > 3) {
        wrong_arguments(r);
        return;
    }
    if (r->argc == 3 && !request_integer(r, 2, &bits))
        return;
    if (bits <= 0 || bits > BITS_MAX) {
        request_error(r, "ERR ACL GENPASS argument must be the number of bits for the output "
                         "password, a positive number up to 4096");
        return;
    }
    size_t len = ((size_t)bits + BITS_OF_DIGIT - 1) / BITS_OF_DIGIT;
    uint8_t secret[BITS_MAX / 8];
    bool failed = false; // the kernel gives this much at a time
    for (size_t i = 0; i < sizeof(secret) && !failed; i += GETENTROPY_MAX)
        failed = getentropy(secret + i, GETENTROPY_MAX) != 0;
    if (failed) {
        request_error(r, "ERR the system gives no random numbers");
        return;
    }
    for (size_t i = 0; i < len; i++)
        text[i] = digits[secret[i / 2] >> (i % 2 ? 4 : 0) & 15];
    reply_bulk(r->out, text, len);
}

// --- LOG -----------------------------------------------------------------------------------------

struct shown {
    struct request *r;
    struct outbuf entries;
    int64_t n;
};

static void show_entry(void *context, const struct access_entry *e)
{
    struct shown *s = context;
    struct out *o = &s->entries.out;
    int resp = s->r->session->resp;
    uint64_t now = s->r->now_ms;
    s->n++;
    reply_map(o, resp, 7);
    reply_bulk_string(o, "count");
    reply_integer(o, (int64_t)e->count);
    reply_bulk_string(o, "reason");
    reply_bulk_string(o, access_reason_name(e->reason));
    reply_bulk_string(o, "context");
    reply_bulk_string(o, access_context_name(e->context));
    reply_bulk_string(o, "object");
    reply_bulk(o, e->object, e->object_len);
    reply_bulk_string(o, "username");
    reply_bulk(o, e->user, e->user_len);
    reply_bulk_string(o, "age-seconds");
    reply_double(o, resp, now > e->last_ms ? (double)(now - e->last_ms) / 1000 : 0);
    reply_bulk_string(o, "client-info");
    reply_bulk(o, e->client, e->client_len);
}

void acl_log_command(struct request *r)
{
    enum { SHOWN = 10 };
    int64_t max = SHOWN;
    if (r->argc > 3) {
        wrong_arguments(r);
        return;
    }
    if (r->argc == 3 && request_is(r, 2, "reset")) {
        r->services->access_log_reset(r->core);
        reply_status(r->out, "OK");
        return;
    }
    if (r->argc == 3 && !request_integer(r, 2, &max))
        return;
    struct shown s = {.r = r};
    outbuf_init(&s.entries);
    r->services->access_log(r->core, max > 0 ? (uint64_t)max : 0, show_entry, &s);
    reply_array(r->out, s.n);
    outbuf_move(&s.entries, r->out);
    outbuf_clear(&s.entries);
}

// --- DRYRUN --------------------------------------------------------------------------------------

static void reply_denial(struct request *r, const char *before, const void *what, size_t len,
                         const char *after)
{
    struct outbuf text;
    outbuf_init(&text);
    out_write(&text.out, before, strlen(before));
    out_write(&text.out, what, len);
    out_write(&text.out, after, strlen(after));
    struct block *all = outbuf_block(&text);
    reply_bulk(r->out, all ? all->data : (const uint8_t *)"", all ? all->len : 0);
    block_release(all);
    outbuf_clear(&text);
}

void acl_dryrun_command(struct request *r)
{
    const struct arg *argv = r->argv + 3;
    int argc = r->argc - 3, at;
    const struct access_user *u = access_users_find(r->services->access_users(r->core),
                                                    (const char *)r->argv[2].ptr, r->argv[2].len);
    const struct command *c = commands_find(argv, argc);
    if (!u) {
        request_errorf(r, "ERR User '%.*s' not found", (int)r->argv[2].len,
                       (const char *)r->argv[2].ptr);
        return;
    }
    if (!c) {
        request_errorf(r, "ERR Command '%.*s' not found", (int)argv->len, (const char *)argv->ptr);
        return;
    }
    if (c->arity > 0 ? argc != c->arity : argc < -c->arity) {
        char text[128];
        commands_arity_error(c, text, sizeof(text));
        request_error(r, text);
        return;
    }
    const char *name = permission_name(c);
    switch (permission_check(u, c, argv, argc, &at)) {
    case ACCESS_GRANTED:
    case ACCESS_DENIED_AUTH:
        reply_status(r->out, "OK");
        return;
    case ACCESS_DENIED_COMMAND:
        reply_denial(r, "This user has no permissions to run the '", name, strlen(name),
                     "' command");
        return;
    case ACCESS_DENIED_KEY:
        reply_denial(r, "This user has no permissions to access the '", argv[at].ptr, argv[at].len,
                     "' key");
        return;
    case ACCESS_DENIED_CHANNEL:
        reply_denial(r, "This user has no permissions to access the '", argv[at].ptr, argv[at].len,
                     "' channel");
        return;
    }
}

void acl_help_command(struct request *r)
{
    static const char *const lines[] = {
        "CAT [<category>]",
        "    The categories, or the commands of one.",
        "DELUSER <username> [<username> ...]",
        "    Takes users away and closes their connections.",
        "DRYRUN <username> <command> [<arg> ...]",
        "    Whether the user may run the command; it is not run.",
        "GENPASS [<bits>]",
        "    A password of so many random bits (256).",
        "GETUSER <username>",
        "    What a user may do, part by part.",
        "LIST",
        "    All users, as lines of a file.",
        "LOAD",
        "    Takes the users of the ACL file in place of those there are.",
        "LOG [<count>|RESET]",
        "    What was denied last; RESET forgets it.",
        "SAVE",
        "    Writes the users to the ACL file.",
        "SETUSER <username> [<rule> ...]",
        "    Makes a user, or changes it.",
        "USERS",
        "    The names of the users.",
        "WHOAMI",
        "    The user of this connection.",
        NULL,
    };
    request_help(r, "ACL", lines);
}
