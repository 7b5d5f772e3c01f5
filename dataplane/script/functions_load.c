// Loading a library: its first line, then its text, which calls redis.register_function. It has
// FUNCTION_LOAD_MS for that.
#include "dataplane/script/functions_load.h"

#include <mimalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <lauxlib.h>

#include "common/block.h"
#include "common/words.h"
#include "dataplane/script/internal.h"
#include "dataplane/script/lib.h"
#include "dataplane/script/sandbox.h"

#define LOOK 1000 // instructions of Lua between two looks at the clock
#define ERROR_SHOWN (FUNCTION_ERROR_MAX - 64)

// A function as it was registered, and where Lua has it.
struct registered {
    struct function function;
    int reference;
};

struct loading {
    struct script_engine *engine;
    const char *text; // behind the first line
    size_t len;
    struct function_library *library;
    struct registered *list;
    unsigned n, room;
    struct script_code **codes;
    uint64_t deadline_ms;
    char *error;
};

// What is being loaded on this thread.
static _Thread_local struct loading *current;

static uint64_t clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

// --- the first line -----------------------------------------------------------------------------

static bool is_name(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!(name[i] >= 'a' && name[i] <= 'z') && !(name[i] >= 'A' && name[i] <= 'Z') &&
            !(name[i] >= '0' && name[i] <= '9') && name[i] != '_')
            return false;
    return len;
}

#define ERROR_NAME                                                                                 \
    "Library names can only contain letters, numbers, or underscores(_) and must be at least one " \
    "character long"

static bool tell(char *error, const char *text)
{
    snprintf(error, FUNCTION_ERROR_MAX, "%s", text);
    return false;
}

// Of the words of the first line; `name` is the word behind "name=".
static bool read_words(const struct words *w, const char **name, char *error)
{
    for (unsigned i = 1; i < w->n; i++) {
        if (strncasecmp(w->at[i], "name=", 5) != 0) {
            snprintf(error, FUNCTION_ERROR_MAX, "Invalid metadata value given: %.*s",
                     FUNCTION_NAME_SHOWN, w->at[i]);
            return false;
        }
        if (*name)
            return tell(error, "Invalid metadata value, name argument was given multiple times");
        *name = w->at[i] + 5;
    }
    if (!*name)
        return tell(error, "Library name was not given");
    size_t len = strlen(*name);
    if (!is_name(*name, len))
        return tell(error, ERROR_NAME);
    if (len > FUNCTION_NAME_MAX)
        return tell(error, "Library name is too long");
    if (strcasecmp(w->at[0] + 2, "lua") != 0) {
        snprintf(error, FUNCTION_ERROR_MAX, "Engine '%.*s' not found", FUNCTION_NAME_SHOWN,
                 w->at[0] + 2);
        return false;
    }
    return true;
}

bool functions_read_name(const struct arg *code, char name[FUNCTION_NAME_MAX + 1], char *error)
{
    const char *text = (const char *)code->ptr, *word = NULL;
    if (code->len < 2 || memcmp(text, "#!", 2) != 0)
        return tell(error, "Missing library metadata");
    const char *end = memchr(text, '\n', code->len);
    struct words words;
    if (!end || memchr(text, '\0', (size_t)(end - text)) ||
        words_split_line(text, (size_t)(end - text), &words) != WORDS_OK)
        return tell(error, "Invalid library metadata");
    bool ok = read_words(&words, &word, error);
    if (ok)
        memcpy(name, word, strlen(word) + 1);
    words_free(&words);
    return ok;
}

// --- redis.register_function --------------------------------------------------------------------

static int refuse(lua_State *L, const char *text)
{
    script_push_error(L, text, strlen(text));
    return lua_error(L);
}

static char *copy_of(lua_State *L, int index, size_t *len)
{
    const char *text = lua_tolstring(L, index, len);
    char *copy = mi_malloc(*len + 1);
    if (copy)
        memcpy(copy, text, *len + 1);
    return copy;
}

static uint32_t flag_of(lua_State *L, int index)
{
    char name[64];
    size_t len;
    const char *text = lua_tolstring(L, index, &len);
    if (len >= sizeof(name))
        return 0;
    for (size_t i = 0; i < len; i++)
        name[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
    return script_flag_named(name, len);
}

static uint32_t read_flags(lua_State *L, int table)
{
    uint32_t flags = 0;
    for (int i = 1;; i++) {
        lua_rawgeti(L, table, i);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            return flags;
        }
        uint32_t flag = lua_isstring(L, -1) ? flag_of(L, -1) : 0;
        if (!flag)
            refuse(L, "unknown flag given");
        flags |= flag;
        lua_pop(L, 1);
    }
}

// Adds a function; indexes of what it is, 0 for no description.
static void add(lua_State *L, int name, int callback, int description, uint32_t flags)
{
    struct loading *l = current;
    size_t len;
    const char *text = lua_tolstring(L, name, &len);
    if (!is_name(text, len))
        refuse(L, ERROR_NAME);
    for (unsigned i = 0; i < l->n; i++)
        if (strcmp(l->list[i].function.name, text) == 0)
            refuse(L, "Function already exists in the library");
    if (l->n == l->room) {
        unsigned room = l->room ? 2 * l->room : 8;
        struct registered *list = mi_reallocn(l->list, room, sizeof(*list));
        if (!list)
            refuse(L, "out of memory");
        l->list = list;
        l->room = room;
    }
    lua_pushvalue(L, callback);
    int reference = luaL_ref(L, LUA_REGISTRYINDEX); // the last that may fail in Lua
    struct registered *at = &l->list[l->n++];
    *at = (struct registered){.reference = reference, .function.flags = flags};
    at->function.name = copy_of(L, name, &at->function.name_len);
    if (description)
        at->function.description = copy_of(L, description, &at->function.description_len);
    if (!at->function.name || (description && !at->function.description))
        refuse(L, "out of memory");
}

// register_function{function_name = …, callback = …, flags = …, description = …}
static void register_named(lua_State *L)
{
    int name = 0, callback = 0, description = 0;
    uint32_t flags = 0;
    if (!lua_istable(L, 1))
        refuse(L, "calling redis.register_function with a single argument is only applicable to "
                  "Lua table (representing named arguments).");
    lua_settop(L, 4); // what is found: name, callback, description
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
        if (!lua_isstring(L, -2))
            refuse(L, "named argument key given to redis.register_function is not a string");
        lua_pushvalue(L, -2); // a number must not become a string while the table is walked
        const char *key = lua_tostring(L, -1);
        if (strcasecmp(key, "function_name") == 0) {
            if (!lua_isstring(L, -2))
                refuse(L, "function_name argument given to redis.register_function must be a "
                          "string");
            name = 2;
            lua_pushvalue(L, -2);
            lua_replace(L, name);
        } else if (strcasecmp(key, "description") == 0) {
            if (!lua_isstring(L, -2))
                refuse(L, "description argument given to redis.register_function must be a string");
            description = 4;
            lua_pushvalue(L, -2);
            lua_replace(L, description);
        } else if (strcasecmp(key, "callback") == 0) {
            if (!lua_isfunction(L, -2))
                refuse(L, "callback argument given to redis.register_function must be a function");
            callback = 3;
            lua_pushvalue(L, -2);
            lua_replace(L, callback);
        } else if (strcasecmp(key, "flags") == 0) {
            if (!lua_istable(L, -2))
                refuse(L, "flags argument to redis.register_function must be a table representing "
                          "function flags");
            flags = read_flags(L, lua_gettop(L) - 1);
        } else {
            refuse(L, "unknown argument given to redis.register_function");
        }
        lua_pop(L, 1);
    }
    if (!name)
        refuse(L, "redis.register_function must get a function name argument");
    if (!callback)
        refuse(L, "redis.register_function must get a callback argument");
    add(L, name, callback, description, flags);
}

int script_register_function(lua_State *L)
{
    if (!current || script_running(L))
        return refuse(L, "redis.register_function can only be called on FUNCTION LOAD command");
    switch (lua_gettop(L)) {
    case 1:
        register_named(L);
        return 0;
    case 2:
        if (!lua_isstring(L, 1))
            refuse(L, "first argument to redis.register_function must be a string");
        if (!lua_isfunction(L, 2))
            refuse(L, "second argument to redis.register_function must be a function");
        add(L, 1, 2, 0, 0);
        return 0;
    default:
        return refuse(L, "wrong number of arguments to redis.register_function");
    }
}

// --- running the text ---------------------------------------------------------------------------

static void look(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    if (!current || clock_ms() <= current->deadline_ms)
        return;
    lua_sethook(L, look, LUA_MASKLINE | LUA_MASKCOUNT, 1); // nothing catches it for long
    refuse(L, "FUNCTION LOAD timeout");
}

// The error on top of the stack.
static void tell_lua(lua_State *L, char *error, const char *what)
{
    if (lua_istable(L, -1)) {
        lua_pushliteral(L, "err");
        lua_rawget(L, -2);
    }
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "unknown error";
    snprintf(error, FUNCTION_ERROR_MAX, "%s: %.*s", what, ERROR_SHOWN, text);
}

static int by_name(const void *a, const void *b)
{
    const struct registered *x = a, *y = b;
    return strcmp(x->function.name, y->function.name);
}

static int load(lua_State *L)
{
    struct loading *l = lua_touserdata(L, 1);
    script_library_begin(L);
    int environment = lua_gettop(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, l->engine->error_handler);
    if ((l->len && l->text[0] == LUA_SIGNATURE[0]) ||
        luaL_loadbuffer(L, l->text, l->len, "@user_function")) {
        tell_lua(L, l->error, "Error compiling function");
        return 0;
    }
    lua_pushvalue(L, environment);
    lua_setfenv(L, -2);
    lua_sethook(L, look, LUA_MASKCOUNT, LOOK);
    if (lua_pcall(L, 0, 0, environment + 1)) {
        tell_lua(L, l->error, "Error registering functions");
        return 0;
    }
    if (!l->n) {
        tell(l->error, "No functions registered");
        return 0;
    }
    lua_pushvalue(L, environment);
    script_library_ready(L);
    qsort(l->list, l->n, sizeof(*l->list), by_name);
    if (!(l->codes = mi_calloc(l->n, sizeof(struct script_code *))))
        return 0;
    bool joins = script_joins(l->text, l->len);
    for (unsigned i = 0; i < l->n; i++) {
        const struct function *f = &l->list[i].function;
        lua_rawgeti(L, LUA_REGISTRYINDEX, l->list[i].reference);
        if (!(l->codes[i] = script_code_new(L, f->name, f->name_len, f->flags, false)))
            return 0;
        if (joins)
            l->codes[i]->reach = SCRIPT_REACH_ALL;
    }
    l->error[0] = '\0';
    return 0;
}

// What was registered becomes the library's, or is freed.
static void settle(struct loading *l, bool ok)
{
    struct function_library *library = l->library;
    for (unsigned i = 0; i < l->n; i++)
        luaL_unref(l->engine->loader, LUA_REGISTRYINDEX, l->list[i].reference);
    if (ok && (library->functions = mi_calloc(l->n, sizeof(struct function)))) {
        library->n_functions = l->n;
        for (unsigned i = 0; i < l->n; i++)
            library->functions[i] = l->list[i].function;
    } else {
        if (ok)
            tell(l->error, "out of memory");
        for (unsigned i = 0; i < l->n; i++) {
            mi_free(l->list[i].function.name);
            mi_free(l->list[i].function.description);
            if (l->codes)
                script_code_release(l->engine, l->codes[i]);
        }
        mi_free(l->codes);
        l->codes = NULL;
        function_library_release(library);
        l->library = NULL;
    }
    mi_free(l->list);
}

struct function_library *functions_compile(struct script_engine *e, struct block *code,
                                           struct script_code ***codes, char *error)
{
    char name[FUNCTION_NAME_MAX + 1];
    struct arg text = {.ptr = code->data, .len = code->len};
    struct loading l = {.engine = e, .error = error};
    if (!functions_read_name(&text, name, error))
        return NULL;
    tell(error, "out of memory");
    size_t name_len = strlen(name);
    if (!(l.library = mi_zalloc(sizeof(*l.library))))
        return NULL;
    l.library->refs = 1;
    l.library->code = block_retain(code);
    l.library->name_len = name_len;
    if (!(l.library->name = mi_malloc(name_len + 1))) {
        function_library_release(l.library);
        return NULL;
    }
    memcpy(l.library->name, name, name_len + 1);
    l.text = memchr(code->data, '\n', code->len);
    l.len = code->len - (size_t)((const uint8_t *)l.text - code->data);
    l.deadline_ms = clock_ms() + FUNCTION_LOAD_MS;
    current = &l;
    lua_State *L = e->loader;
    int top = lua_gettop(L);
    lua_cpcall(L, load, &l);
    lua_sethook(L, NULL, 0, 0);
    lua_settop(L, top);
    current = NULL;
    settle(&l, !*error);
    *codes = l.codes;
    return l.library;
}
