// What the files of the server family share. The table is in server_table.c.
#pragma once

#include "dataplane/commands/command.h"

// introspection.c: COMMAND, what the table says.
void command_command(struct request *r);
void command_count_command(struct request *r);
void command_getkeys_command(struct request *r);
void command_getkeysandflags_command(struct request *r);
void command_help_command(struct request *r);
void command_info_command(struct request *r);
void command_list_command(struct request *r);
// introspection_docs.c
void command_docs_command(struct request *r);

// config_command.c: CONFIG
void config_get_command(struct request *r);
void config_help_command(struct request *r);
void config_resetstat_command(struct request *r);
void config_resetstat_part(struct request *r);
void config_rewrite_command(struct request *r);
void config_set_command(struct request *r);
void config_set_part(struct request *r);
bool config_set_start(struct request *r);
bool config_set_waits(const struct arg *argv, int argc);
void config_set_prepare(struct request *r);

// info.c
void info_command(struct request *r);
void info_part(struct request *r);

// debug.c
void debug_command(struct request *r);
void debug_part(struct request *r);
bool debug_start(struct request *r);

// memory.c
void memory_doctor_command(struct request *r);
void memory_doctor_part(struct request *r);
void memory_help_command(struct request *r);
void memory_malloc_stats_command(struct request *r);
void memory_purge_command(struct request *r);
void memory_purge_part(struct request *r);
void memory_stats_command(struct request *r);
void memory_stats_part(struct request *r);

// modules.c
void module_help_command(struct request *r);
void module_list_command(struct request *r);
void module_load_command(struct request *r);
void module_unload_command(struct request *r);

// server.c
void lolwut_command(struct request *r);
void shutdown_command(struct request *r);
void time_command(struct request *r);

// How introspection shows what the table holds.
void introspection_reply_name(struct out *o,
                              const struct command *c); // "config|get", a bulk string
int64_t introspection_count_subcommands(const struct command *c);
// Names of the categories, by bit; their number.
unsigned introspection_categories(const char *const **names);
