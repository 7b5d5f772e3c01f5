// What the engine and libraries of functions need of the sandbox beyond script.h.
#pragma once

#include <lua.h>

// Sets a global that scripts of EVAL see (KEYS, ARGV) to the value on top of the stack, and pops
// it; the protection does not apply.
void script_set_global(lua_State *L, const char *name);
