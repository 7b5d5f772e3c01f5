// How the arguments of a command are shown to people who watch the server: MONITOR and the slow
// log.
#pragma once

#include "dataplane/commands/command.h"

// What stands in the place of a secret.
#define SHOWN_REDACTED "(redacted)"

// Whether argument i is a secret: a password, or the rules of a user. It may be asked of arguments
// that made no sense to the command; then rather too much is hidden.
bool shown_secret(const struct services *services, struct core *core, const struct command *command,
                  int argc, const struct arg *argv, int i);
// Writes the bytes in double quotes, on one line and in ASCII: \n \r \t \a \b \" \\ and \xHH.
void shown_quoted(struct out *o, const uint8_t *bytes, size_t len);
