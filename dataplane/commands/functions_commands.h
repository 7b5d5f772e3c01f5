// Commands on libraries of functions: their table, and the handlers it names. The libraries are in
// dataplane/script/functions.c.
#pragma once

#include "dataplane/commands/command.h"

extern const struct command functions_commands[]; // ends with name NULL

void fcall_command(struct request *r);
void fcall_ro_command(struct request *r);

void function_delete_command(struct request *r);
void function_dump_command(struct request *r);
void function_flush_command(struct request *r);
void function_help_command(struct request *r);
void function_kill_part(struct request *r);
void function_kill_command(struct request *r);
void function_list_command(struct request *r);
void function_load_command(struct request *r);
void function_restore_command(struct request *r);
void function_stats_part(struct request *r);
void function_stats_command(struct request *r);
