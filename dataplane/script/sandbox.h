// What the engine and libraries of functions need of the sandbox beyond script.h.
#pragma once

#include <lua.h>

// Sets a global that scripts of EVAL see (KEYS, ARGV) to the value on top of the stack, and pops
// it; the protection does not apply.
void script_set_global(lua_State *L, const char *name);

// The environment of a library of functions, a table on top of the stack that its chunk gets. While
// the library is loaded it holds what may be used then: `redis` with register_function, log and
// constants.
void script_library_begin(lua_State *L);
// The library is loaded: the environment on top of the stack, which is popped, becomes that of
// functions that run.
void script_library_ready(lua_State *L);
