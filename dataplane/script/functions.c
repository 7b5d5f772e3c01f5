// The libraries of functions of the process, and what a core has compiled of them.
#include "dataplane/script/functions.h"

#include <mimalloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/block.h"
#include "dataplane/script/functions_load.h"
#include "dataplane/script/internal.h"

struct script_functions {
    pthread_mutex_t lock;
    struct function_set *set;
    _Atomic uint64_t generation; // of `set`
};

// What a core has compiled: of each library of the set that it knows, the functions or NULL.
struct engine_functions {
    uint64_t generation;
    struct function_set *set;
    struct script_code ***codes;
};

// --- sets ---------------------------------------------------------------------------------------

void function_library_release(struct function_library *library)
{
    if (!library || atomic_fetch_sub_explicit(&library->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned i = 0; i < library->n_functions; i++) {
        mi_free(library->functions[i].name);
        mi_free(library->functions[i].description);
    }
    mi_free(library->functions);
    mi_free(library->name);
    block_release(library->code);
    mi_free(library);
}

static struct function_library *library_retain(struct function_library *library)
{
    atomic_fetch_add_explicit(&library->refs, 1, memory_order_relaxed);
    return library;
}

void function_set_release(struct function_set *set)
{
    if (!set || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned i = 0; i < set->n_libraries; i++)
        function_library_release(set->libraries[i]);
    mi_free(set->libraries);
    mi_free(set->places);
    mi_free(set);
}

static int by_library_name(const void *a, const void *b)
{
    const struct function_library *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static const struct function *function_at(const struct function_set *set, unsigned place)
{
    const struct function_place *p = &set->places[place];
    return &set->libraries[p->library]->functions[p->function];
}

static int by_function_name(const void *a, const void *b, void *set)
{
    const struct function_place *x = a, *y = b;
    const struct function_set *s = set;
    int order = strcasecmp(s->libraries[x->library]->functions[x->function].name,
                           s->libraries[y->library]->functions[y->function].name);
    return order ? order : (x->library > y->library) - (x->library < y->library);
}

// `set` may be NULL: no libraries.
static bool is_among(const struct function_library *library, const struct function_set *set)
{
    for (unsigned i = 0; set && i < set->n_libraries; i++)
        if (set->libraries[i] == library)
            return true;
    return false;
}

// A set of these libraries, of which it takes a reference each. NULL, with the error: two of them
// have a function of one name (that of the one that is not in `old` is told), or memory is short.
static struct function_set *set_of(struct function_library *const *libraries, unsigned n,
                                   const struct function_set *old, char *error)
{
    struct function_set *set = mi_zalloc(sizeof(*set));
    snprintf(error, FUNCTION_ERROR_MAX, "out of memory");
    if (!set)
        return NULL;
    set->refs = 1;
    if (!(set->libraries = mi_calloc(n + 1, sizeof(struct function_library *)))) {
        mi_free(set);
        return NULL;
    }
    for (unsigned i = 0; i < n; i++) {
        set->libraries[i] = library_retain(libraries[i]);
        set->n_functions += libraries[i]->n_functions;
    }
    set->n_libraries = n;
    qsort(set->libraries, n, sizeof(struct function_library *), by_library_name);
    if (!(set->places = mi_calloc(set->n_functions + 1, sizeof(*set->places)))) {
        function_set_release(set);
        return NULL;
    }
    unsigned at = 0;
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < set->libraries[i]->n_functions; k++)
            set->places[at++] = (struct function_place){.library = i, .function = k};
    qsort_r(set->places, at, sizeof(*set->places), by_function_name, set);
    for (unsigned i = 1; i < at; i++) {
        const struct function_place *x = &set->places[i - 1], *y = &set->places[i];
        if (x->library == y->library ||
            strcasecmp(function_at(set, i - 1)->name, function_at(set, i)->name) != 0)
            continue;
        bool second = is_among(set->libraries[x->library], old);
        snprintf(error, FUNCTION_ERROR_MAX, "Function %s already exists",
                 function_at(set, i - !second)->name);
        function_set_release(set);
        return NULL;
    }
    return set;
}

static const struct function_library *find_library(const struct function_set *set, const char *name)
{
    for (unsigned i = 0; i < set->n_libraries; i++)
        if (strcmp(set->libraries[i]->name, name) == 0)
            return set->libraries[i];
    return NULL;
}

// The place of a function; -1: there is none.
static int find_function(const struct function_set *set, const struct arg *name)
{
    unsigned low = 0, high = set->n_functions;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        const struct function *at = function_at(set, middle);
        size_t len = at->name_len < name->len ? at->name_len : name->len;
        int order = strncasecmp(at->name, (const char *)name->ptr, len);
        if (!order)
            order = (at->name_len > name->len) - (at->name_len < name->len);
        if (!order)
            return (int)middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

// --- the process --------------------------------------------------------------------------------

struct script_functions *script_functions_create(void)
{
    char error[FUNCTION_ERROR_MAX];
    struct script_functions *f = mi_zalloc(sizeof(*f));
    if (!f)
        return NULL;
    pthread_mutex_init(&f->lock, NULL);
    f->generation = 1;
    f->set = set_of(NULL, 0, NULL, error);
    if (f->set)
        return f;
    script_functions_destroy(f);
    return NULL;
}

void script_functions_destroy(struct script_functions *f)
{
    if (!f)
        return;
    function_set_release(f->set);
    pthread_mutex_destroy(&f->lock);
    mi_free(f);
}

struct function_set *script_functions_get(struct script_functions *f)
{
    pthread_mutex_lock(&f->lock);
    struct function_set *set = f->set;
    atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&f->lock);
    return set;
}

// Under the lock: `set` takes the place of the old one, which is returned.
static struct function_set *publish(struct script_functions *f, struct function_set *set)
{
    struct function_set *old = f->set;
    f->set = set;
    atomic_fetch_add_explicit(&f->generation, 1, memory_order_release);
    return old;
}

// Puts `n` libraries among those that there are, under the policy.
static bool put(struct script_functions *f, struct function_library *const *libraries, unsigned n,
                enum function_policy policy, char *error)
{
    pthread_mutex_lock(&f->lock);
    const struct function_set *old = f->set;
    struct function_set *set = NULL, *replaced = NULL;
    struct function_library **all =
        mi_calloc((size_t)old->n_libraries + n + 1, sizeof(struct function_library *));
    unsigned kept = 0;
    snprintf(error, FUNCTION_ERROR_MAX, "out of memory");
    bool ok = all;
    for (unsigned i = 0; ok && policy != FUNCTION_FLUSH && i < old->n_libraries; i++) {
        unsigned k = 0;
        while (k < n && strcmp(libraries[k]->name, old->libraries[i]->name) != 0)
            k++;
        if (k < n && policy == FUNCTION_APPEND) {
            snprintf(error, FUNCTION_ERROR_MAX, "Library %s already exists", libraries[k]->name);
            ok = false;
        } else if (k == n) {
            all[kept++] = old->libraries[i];
        }
    }
    if (ok) {
        for (unsigned i = 0; i < n; i++)
            all[kept++] = libraries[i];
        set = set_of(all, kept, old, error);
    }
    if (set)
        replaced = publish(f, set);
    pthread_mutex_unlock(&f->lock);
    function_set_release(replaced);
    mi_free(all);
    return set;
}

bool script_functions_delete(struct script_functions *f, const struct arg *name, char *error)
{
    struct function_set *set = NULL, *replaced = NULL;
    struct function_library **all;
    unsigned kept = 0;
    pthread_mutex_lock(&f->lock);
    const struct function_set *old = f->set;
    if ((all = mi_calloc(old->n_libraries + 1, sizeof(struct function_library *))))
        for (unsigned i = 0; i < old->n_libraries; i++) {
            struct function_library *l = old->libraries[i];
            if (l->name_len != name->len || memcmp(l->name, name->ptr, name->len) != 0)
                all[kept++] = l;
        }
    if (all && kept == old->n_libraries)
        snprintf(error, FUNCTION_ERROR_MAX, "Library not found");
    else if (all)
        set = set_of(all, kept, old, error);
    else
        snprintf(error, FUNCTION_ERROR_MAX, "out of memory");
    if (set)
        replaced = publish(f, set);
    pthread_mutex_unlock(&f->lock);
    function_set_release(replaced);
    mi_free(all);
    return set;
}

void script_functions_flush(struct script_functions *f)
{
    char error[FUNCTION_ERROR_MAX];
    put(f, NULL, 0, FUNCTION_FLUSH, error);
}

// --- what a core has compiled -------------------------------------------------------------------

static void release_codes(struct script_engine *e, struct script_code **codes, unsigned n)
{
    for (unsigned i = 0; codes && i < n; i++)
        script_code_release(e, codes[i]);
    mi_free(codes);
}

void functions_clear(struct script_engine *e)
{
    struct engine_functions *known = e->functions;
    if (!known)
        return;
    for (unsigned i = 0; i < known->set->n_libraries; i++)
        release_codes(e, known->codes[i], known->set->libraries[i]->n_functions);
    mi_free(known->codes);
    function_set_release(known->set);
    mi_free(known);
    e->functions = NULL;
}

// Learns the set of now, and keeps what it has compiled of it. False: memory is short.
static bool learn(struct script_engine *e, struct script_functions *f)
{
    struct engine_functions *old = e->functions;
    uint64_t generation = atomic_load_explicit(&f->generation, memory_order_acquire);
    if (__builtin_expect(old && old->generation == generation, 1))
        return true;
    struct engine_functions *new = mi_zalloc(sizeof(*new));
    if (!new)
        return false;
    // A change in between is learned the next time.
    *new = (struct engine_functions){.generation = generation, .set = script_functions_get(f)};
    new->codes = mi_calloc(new->set->n_libraries + 1, sizeof(struct script_code **));
    if (!new->codes) {
        function_set_release(new->set);
        mi_free(new);
        return false;
    }
    unsigned at = 0; // both are in the order of names
    for (unsigned i = 0; old && i < old->set->n_libraries; i++) {
        const struct function_library *l = old->set->libraries[i];
        while (at < new->set->n_libraries && strcmp(new->set->libraries[at]->name, l->name) < 0)
            at++;
        if (at < new->set->n_libraries &&new->set->libraries[at] == l) {
            new->codes[at] = old->codes[i];
            old->codes[i] = NULL;
        }
    }
    functions_clear(e);
    e->functions = new;
    return true;
}

// What was compiled to load the library is what runs here.
static void keep_codes(struct script_engine *e, struct script_functions *f,
                       const struct function_library *library, struct script_code **codes)
{
    if (learn(e, f)) {
        struct engine_functions *known = e->functions;
        for (unsigned i = 0; i < known->set->n_libraries; i++)
            if (known->set->libraries[i] == library && !known->codes[i]) {
                known->codes[i] = codes;
                return;
            }
    }
    release_codes(e, codes, library->n_functions);
}

static struct script_code **compile_again(struct script_engine *e,
                                          const struct function_library *library, char *error)
{
    struct script_code **codes = NULL;
    struct function_library *again = functions_compile(e, library->code, &codes, error);
    bool same = again && again->n_functions == library->n_functions;
    for (unsigned i = 0; same && i < library->n_functions; i++)
        same = strcmp(again->functions[i].name, library->functions[i].name) == 0;
    if (again && !same) { // by other functions than when it was loaded
        release_codes(e, codes, again->n_functions);
        codes = NULL;
        snprintf(error, FUNCTION_ERROR_MAX, "Function not found");
    }
    function_library_release(again);
    return codes;
}

struct script_code *script_known_function(struct script_engine *e, struct script_functions *f,
                                          const struct arg *name)
{
    if (!learn(e, f))
        return NULL;
    const struct engine_functions *known = e->functions;
    int at = find_function(known->set, name);
    if (at < 0)
        return NULL;
    const struct function_place *place = &known->set->places[at];
    struct script_code **codes = known->codes[place->library];
    return codes ? codes[place->function] : NULL;
}

struct script_code *script_function(struct script_engine *e, struct script_functions *f,
                                    const struct arg *name, char *error)
{
    if (!learn(e, f)) {
        snprintf(error, FUNCTION_ERROR_MAX, "out of memory");
        return NULL;
    }
    struct engine_functions *known = e->functions;
    int at = find_function(known->set, name);
    if (at < 0) {
        snprintf(error, FUNCTION_ERROR_MAX, "Function not found");
        return NULL;
    }
    const struct function_place *place = &known->set->places[at];
    struct script_code ***codes = &known->codes[place->library];
    if (!*codes && !(*codes = compile_again(e, known->set->libraries[place->library], error)))
        return NULL;
    return (*codes)[place->function];
}

// --- loading ------------------------------------------------------------------------------------

static struct block *block_of(const struct arg *a)
{
    if (a->block)
        return block_retain(a->block);
    struct block *block = block_new(a->len);
    if (block) {
        memcpy(block->data, a->ptr, a->len);
        block->len = a->len;
    }
    return block;
}

// Compiles one library. NULL, with the error: also when `others` has it already.
static struct function_library *compile(struct script_engine *e, const struct arg *code,
                                        const struct function_set *others,
                                        struct script_code ***codes, char *error)
{
    char name[FUNCTION_NAME_MAX + 1];
    if (!functions_read_name(code, name, error))
        return NULL;
    if (others && find_library(others, name)) {
        snprintf(error, FUNCTION_ERROR_MAX, "Library '%.*s' already exists", FUNCTION_NAME_SHOWN,
                 name);
        return NULL;
    }
    struct block *block = block_of(code);
    struct function_library *library = NULL;
    if (block)
        library = functions_compile(e, block, codes, error);
    else
        snprintf(error, FUNCTION_ERROR_MAX, "out of memory");
    block_release(block);
    return library;
}

struct function_library *script_functions_load(struct script_engine *e, struct script_functions *f,
                                               const struct arg *code, bool replace, char *error)
{
    struct script_code **codes;
    struct function_set *now = script_functions_get(f);
    struct function_library *library = compile(e, code, replace ? NULL : now, &codes, error);
    function_set_release(now);
    if (!library)
        return NULL;
    if (!put(f, &library, 1, replace ? FUNCTION_REPLACE : FUNCTION_APPEND, error)) {
        release_codes(e, codes, library->n_functions);
        function_library_release(library);
        return NULL;
    }
    keep_codes(e, f, library, codes);
    return library;
}

bool script_functions_restore(struct script_engine *e, struct script_functions *f,
                              const struct arg *codes, unsigned n, enum function_policy policy,
                              char *error)
{
    struct function_library **libraries = mi_calloc(n + 1, sizeof(struct function_library *));
    struct script_code ***compiled = mi_calloc(n + 1, sizeof(struct script_code **));
    struct function_set *so_far = NULL;
    unsigned done = 0;
    snprintf(error, FUNCTION_ERROR_MAX, "out of memory");
    bool ok = libraries && compiled;
    for (; ok && done < n; done++) {
        libraries[done] = compile(e, &codes[done], so_far, &compiled[done], error);
        if (!libraries[done])
            break;
        function_set_release(so_far);
        so_far = set_of(libraries, done + 1,
                        &(struct function_set){.n_libraries = done, .libraries = libraries}, error);
        ok = so_far;
    }
    function_set_release(so_far);
    ok = ok && done == n && put(f, libraries, n, policy, error);
    for (unsigned i = 0; libraries && i < done; i++) {
        if (ok)
            keep_codes(e, f, libraries[i], compiled[i]);
        else
            release_codes(e, compiled[i], libraries[i]->n_functions);
        function_library_release(libraries[i]);
    }
    mi_free(libraries);
    mi_free(compiled);
    return ok;
}
