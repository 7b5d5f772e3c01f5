// From the text of a library to its functions.
#pragma once

#include "dataplane/script/functions.h"

struct block;

#define FUNCTION_NAME_MAX 4096  // bytes of a library's name
#define FUNCTION_NAME_SHOWN 512 // of those in an error

// The name in the first line, "#!lua name=…". False: the error is told.
bool functions_read_name(const struct arg *code, char name[FUNCTION_NAME_MAX + 1], char *error);
// Runs the library, and returns it with its functions in the order of their names; `codes` (to be
// freed) has the same order. NULL, with the error.
struct function_library *functions_compile(struct script_engine *e, struct block *code,
                                           struct script_code ***codes, char *error);
