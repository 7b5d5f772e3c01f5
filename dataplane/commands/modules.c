// MODULE: there are none, and none can be loaded.
#include "dataplane/commands/families.h"
#include "dataplane/commands/server.h"

void module_list_command(struct request *r)
{
    reply_array(r->out, 0);
}

// Without the right to load modules the answer is Redis's; with it, that it would not help.
static bool allowed(struct request *r)
{
    if (r->services->protected_allowed(r->core, "enable-module-command", r->client))
        return true;
    request_error(r, "ERR MODULE command not allowed. If the enable-module-command option is set "
                     "to \"local\", you can run it from a local connection, otherwise you need to "
                     "set this option in the configuration file, and then restart the server.");
    return false;
}

void module_load_command(struct request *r)
{
    if (allowed(r))
        request_error(r, "ERR Error loading the extension. Pollux runs no modules: they are "
                         "written against the inside of another server.");
}

void module_unload_command(struct request *r)
{
    if (allowed(r))
        request_error(r, "ERR Error unloading module: no such module with that name");
}

void module_help_command(struct request *r)
{
    static const char *const lines[] = {
        "LIST",
        "    The modules that are loaded: none, always.",
        "LOAD <path> [<arg> ...]",
        "    Not in Pollux, which runs no modules.",
        "LOADEX <path> [CONFIG <name> <value> ...] [ARGS <arg> ...]",
        "    Not in Pollux, which runs no modules.",
        "UNLOAD <name>",
        "    Not in Pollux, which runs no modules.",
        NULL,
    };
    request_help(r, "MODULE", lines);
}
