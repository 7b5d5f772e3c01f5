// The table of commands of this family. Figures are those of COMMAND INFO and COMMAND DOCS of
// Redis 7.0.15.
#include "dataplane/commands/families.h"

const struct command geo_commands[] = {{.name = NULL}};
