// The check that the server makes before any handler runs.
#pragma once

#include "dataplane/commands/command.h"

// False: the error was written.
static inline bool check_arity(struct out *o, const struct command *c, int argc)
{
    char text[128];
    if (command_fits(c, argc))
        return true;
    commands_arity_error(c, text, sizeof(text));
    reply_error(o, text);
    return false;
}
