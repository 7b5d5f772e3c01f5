// The libraries of scripts: what script_libraries_open puts together (sandbox.c). All of these run
// under pcall; they raise Lua's errors and keep nothing outside of Lua's memory.
#pragma once

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Each pushes its table.
int script_open_struct(lua_State *L);
int script_open_cmsgpack(lua_State *L);
int script_open_cjson(lua_State *L);
// Each changes tables that Lua's own libraries have made.
void script_mend_base(lua_State *L);    // globals
void script_mend_table(lua_State *L);   // `table`
void script_mend_strings(lua_State *L); // `string` and `bit`
void script_mend_math(lua_State *L);    // `math`

// redis.register_function (functions_load.c).
int script_register_function(lua_State *L);

// --- protected tables (sandbox.c) ---------------------------------------------------------------
//
// Lua 5.1 has no read-only tables. What scripts hold instead of one is an empty table whose
// metatable reads from the real one and refuses to be written; functions that would see that it is
// empty, or write past metatables, know it.

// The table on top of the stack becomes its stand-in. `shown`: what getmetatable gives for it is on
// top of it, and popped (nil: nothing).
void script_protect(lua_State *L);
// Whether the value is a stand-in; pushes the table behind it.
bool script_behind(lua_State *L, int index);
// As script_behind, and pushes what getmetatable gives.
bool script_shown_metatable(lua_State *L, int index);
#define SCRIPT_READ_ONLY "Attempt to modify a readonly table"
// Raises SCRIPT_READ_ONLY if the value is a stand-in.
void script_refuse_change(lua_State *L, int index);

// Whether so much memory can be had of Lua's allocator at this moment; raises "not enough memory"
// otherwise. For libraries that take memory of their own, which they would lose by an error.
void script_need_memory(lua_State *L, size_t bytes);

// Lets the engine look at the clock, as it does between instructions of Lua; for functions that may
// take long. The script may pause in it, or end.
void script_breathe(lua_State *L);
