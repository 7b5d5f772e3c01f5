// What the files of the connection family share.
#pragma once

#include "dataplane/commands/command.h"

// connection_hello.c: who the client is.
void auth_command(struct request *r);
void hello_command(struct request *r);

// What is wrong with a client's name, "" included; NULL: nothing.
const char *connection_check_name(const struct arg *name);
// Names the client ("" takes the name away). The name was checked. false: memory is short.
bool connection_set_name(struct client *c, const struct arg *name);
