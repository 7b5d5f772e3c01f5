// Scripting commands: their table, and the handlers it names. The engine is in dataplane/script,
// what runs scripts on a core in core/script.c.
#pragma once

#include "dataplane/commands/command.h"

extern const struct command scripting_commands[]; // ends with name NULL

void eval_command(struct request *r);
void eval_ro_command(struct request *r);
void evalsha_command(struct request *r);
void evalsha_ro_command(struct request *r);

void script_debug_command(struct request *r);
void script_exists_command(struct request *r);
bool script_flush_start(struct request *r);
void script_flush_part(struct request *r);
void script_flush_command(struct request *r);
void script_help_command(struct request *r);
void script_kill_part(struct request *r);
void script_kill_command(struct request *r);
void script_load_command(struct request *r);

#define ERR_NO_SCRIPT "NOSCRIPT No matching script. Please use EVAL."

// Reads the number of keys of EVAL and FCALL, argument 2. False: it was answered.
bool request_script_keys(struct request *r, int *n_keys);
// A script that is to be ended: what each core says, and the answer. `function`: by FUNCTION KILL.
void request_kill_part(struct request *r, bool function);
void request_kill_answer(struct request *r);
