// EVAL and its like, and SCRIPT.
#include "dataplane/commands/scripting_commands.h"

#include <string.h>

#include "dataplane/commands/families.h"
#include "dataplane/commands/services.h"
#include "dataplane/resp/reply.h"

#define SHA1_DIGITS 40

// --- EVAL ----------------------------------------------------------------------------------------

bool request_script_keys(struct request *r, int *n_keys)
{
    int64_t n;
    if (!request_integer(r, 2, &n))
        return false;
    if (n > r->argc - 3)
        request_error(r, "ERR Number of keys can't be greater than number of args");
    else if (n < 0)
        request_error(r, "ERR Number of keys can't be negative");
    else
        *n_keys = (int)n;
    return !r->replied_error;
}

static void eval(struct request *r, bool by_sha, bool read_only)
{
    int n_keys;
    if (by_sha && r->argv[1].len != SHA1_DIGITS)
        request_error(r, ERR_NO_SCRIPT);
    else if (request_script_keys(r, &n_keys))
        r->services->script_eval(r, by_sha, read_only, n_keys);
}

void eval_command(struct request *r)
{
    eval(r, false, false);
}

void eval_ro_command(struct request *r)
{
    eval(r, false, true);
}

void evalsha_command(struct request *r)
{
    eval(r, true, false);
}

void evalsha_ro_command(struct request *r)
{
    eval(r, true, true);
}

// --- SCRIPT --------------------------------------------------------------------------------------

void script_load_command(struct request *r)
{
    r->services->script_load(r);
}

void script_exists_command(struct request *r)
{
    reply_array(r->out, r->argc - 2);
    for (int i = 2; i < r->argc; i++)
        reply_integer(r->out, r->services->script_exists(r->core, &r->argv[i]));
}

bool script_flush_start(struct request *r)
{
    if (r->argc == 2 || (r->argc == 3 && (request_is(r, 2, "sync") || request_is(r, 2, "async"))))
        return true;
    request_error(r, "ERR SCRIPT FLUSH only support SYNC|ASYNC option");
    return false;
}

void script_flush_part(struct request *r)
{
    r->services->script_flush(r->core);
}

void script_flush_command(struct request *r)
{
    reply_status(r->out, "OK");
}

void request_kill_part(struct request *r, bool function)
{
    uint8_t killed = (uint8_t)r->services->script_kill(r->core, function);
    out_write(r->out, &killed, 1);
}

void request_kill_answer(struct request *r)
{
    enum script_killed killed = SCRIPT_KILLED_NONE;
    for (unsigned i = 0; i < r->n_parts; i++)
        if (r->parts[i].len == 1 && *r->parts[i].ptr > killed)
            killed = *r->parts[i].ptr;
    switch (killed) {
    case SCRIPT_KILLED_NONE:
        request_error(r, "NOTBUSY No scripts in execution right now.");
        break;
    case SCRIPT_KILLED_IS_SCRIPT:
        request_error(r, ERR_BUSY_SCRIPT);
        break;
    case SCRIPT_KILLED_IS_FUNCTION:
        request_error(r, ERR_BUSY_FUNCTION);
        break;
    case SCRIPT_KILLED_NOT:
        request_error(r, "UNKILLABLE Sorry the script already executed write commands against the "
                         "dataset. You can either wait the script termination or kill the server "
                         "in a hard way using the SHUTDOWN NOSAVE command.");
        break;
    case SCRIPT_KILLED_OK:
        reply_status(r->out, "OK");
        break;
    }
}

void script_kill_part(struct request *r)
{
    request_kill_part(r, false);
}

void script_kill_command(struct request *r)
{
    request_kill_answer(r);
}

void script_debug_command(struct request *r)
{
    if (request_is(r, 2, "no"))
        reply_status(r->out, "OK");
    else if (request_is(r, 2, "yes") || request_is(r, 2, "sync"))
        request_error(r, "ERR There is no debugger for scripts here: SCRIPT DEBUG takes NO only");
    else
        request_error(r, "ERR Use SCRIPT DEBUG YES/SYNC/NO");
}

void script_help_command(struct request *r)
{
    static const char *const lines[] = {
        "DEBUG NO",
        "    Does nothing: there is no debugger for scripts here, so YES and SYNC are refused.",
        "EXISTS <sha1> [<sha1> ...]",
        "    Tells of each script whether it is kept.",
        "FLUSH [ASYNC|SYNC]",
        "    Forgets all scripts; both are the same here.",
        "KILL",
        "    Ends the script that runs, unless it has written.",
        "LOAD <script>",
        "    Keeps a script without running it, and returns its SHA1.",
        NULL,
    };
    request_help(r, "SCRIPT", lines);
}
