// Between RESP and Lua, beyond script.h.
#pragma once

#include <lua.h>

struct out;

// script_write_value for a script that speaks `script_resp` (redis.setresp): one that knows RESP3
// answers booleans as such.
void values_write(lua_State *L, struct out *out, int resp, int script_resp);
