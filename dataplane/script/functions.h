// Libraries of functions: what FUNCTION manages and FCALL runs. The libraries of the process are an
// immutable, counted set behind a lock; a change makes a new one. Each core compiles a library for
// itself when it first runs one of its functions, and looks at a number that tells whether the set
// is still the one it knows. So a change is there for all cores as soon as it was made.
//
// Errors are the text of a reply without "ERR ", in FUNCTION_ERROR_MAX bytes of the caller's.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arg.h"
#include "dataplane/commands/services.h"
#include "dataplane/script/script.h"

#define FUNCTION_LOAD_MS 500 // a library that takes longer to load is refused

struct function {
    char *name, *description; // description NULL: none
    size_t name_len, description_len;
    uint32_t flags; // enum script_flags
};

// One library. Counted, never changed.
struct function_library {
    _Atomic unsigned refs;
    unsigned n_functions;
    struct function *functions; // by name
    struct block *code;         // as it was given, "#!lua name=…" included
    char *name;
    size_t name_len;
};

// All libraries at one moment. Counted, never changed.
struct function_set {
    _Atomic unsigned refs;
    unsigned n_libraries, n_functions;
    struct function_library **libraries; // by name
    struct function_place {
        unsigned library, function;
    } * places; // of all functions, by name in any letter case
};

struct script_functions;
struct script_functions *script_functions_create(void);
void script_functions_destroy(struct script_functions *f);
// The libraries of now; to be released.
struct function_set *script_functions_get(struct script_functions *f);
void function_set_release(struct function_set *set);

// --- changes, by any core -----------------------------------------------------------------------

// FUNCTION LOAD: compiles on `e`. The library (released by the caller), or NULL with the error.
struct function_library *script_functions_load(struct script_engine *e, struct script_functions *f,
                                               const struct arg *code, bool replace, char *error);
void function_library_release(struct function_library *library);
bool script_functions_delete(struct script_functions *f, const struct arg *name, char *error);
void script_functions_flush(struct script_functions *f);
// FUNCTION RESTORE: all of the `n` libraries, or none of them.
bool script_functions_restore(struct script_engine *e, struct script_functions *f,
                              const struct arg *codes, unsigned n, enum function_policy policy,
                              char *error);

// --- running, on the core of the engine ---------------------------------------------------------

// The function of that name, compiled. NULL with the error. The caller holds no reference.
struct script_code *script_function(struct script_engine *e, struct script_functions *f,
                                    const struct arg *name, char *error);
// The same if it is compiled.
struct script_code *script_known_function(struct script_engine *e, struct script_functions *f,
                                          const struct arg *name);
