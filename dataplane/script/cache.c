// The scripts of EVAL: their texts, which all cores share, and what this core has compiled of them.
// A text is found by a keyed hash and compared; its SHA1 is worked out once.
#include <mimalloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <openssl/evp.h>

#include "dataplane/script/internal.h"
#include "dataplane/store/hash.h"

#define BUCKETS_FIRST 64
#define ERROR_SHOWN 256 // bytes of Lua's message about what it cannot compile

// --- SHA1 ----------------------------------------------------------------------------------------

void script_sha1(const void *data, size_t len, char hex[SCRIPT_SHA_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char hash[EVP_MAX_MD_SIZE] = {0};
    unsigned int n = 0;
    EVP_Digest(data, len, hash, &n, EVP_sha1(), NULL);
    for (unsigned i = 0; i < SCRIPT_SHA_LEN / 2; i++) {
        hex[2 * i] = digits[hash[i] >> 4];
        hex[2 * i + 1] = digits[hash[i] & 15];
    }
    hex[SCRIPT_SHA_LEN] = '\0';
}

// Lower-case digits of a SHA1 that a client gave. False: it cannot be one.
static bool sha_of(const struct arg *a, char sha[SCRIPT_SHA_LEN + 1])
{
    if (a->len != SCRIPT_SHA_LEN)
        return false;
    for (unsigned i = 0; i < SCRIPT_SHA_LEN; i++)
        sha[i] = (char)(a->ptr[i] >= 'A' && a->ptr[i] <= 'Z' ? a->ptr[i] + 32 : a->ptr[i]);
    sha[SCRIPT_SHA_LEN] = '\0';
    return true;
}

static uint64_t hash_of_sha(const char *sha)
{
    uint64_t h;
    memcpy(&h, sha, sizeof(h));
    return (h * 0x9e3779b97f4a7c15u) >> 20;
}

// --- the texts of all cores ----------------------------------------------------------------------

struct text {
    struct text *next;
    struct block *text;
    char sha[SCRIPT_SHA_LEN];
};

struct script_texts {
    pthread_mutex_t lock;
    struct text **buckets;
    unsigned n, n_buckets;
    uint64_t bytes;
};

struct script_texts *script_texts_create(void)
{
    struct script_texts *t = mi_zalloc(sizeof(*t));
    if (!t)
        return NULL;
    t->n_buckets = BUCKETS_FIRST;
    t->buckets = mi_calloc(t->n_buckets, sizeof(struct text *));
    if (!t->buckets) {
        mi_free(t);
        return NULL;
    }
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

static void texts_clear(struct script_texts *t)
{
    for (unsigned i = 0; i < t->n_buckets; i++)
        for (struct text *x = t->buckets[i], *next; x; x = next) {
            next = x->next;
            block_release(x->text);
            mi_free(x);
        }
    memset(t->buckets, 0, t->n_buckets * sizeof(struct text *));
    t->n = 0;
    t->bytes = 0;
}

void script_texts_destroy(struct script_texts *t)
{
    if (!t)
        return;
    texts_clear(t);
    pthread_mutex_destroy(&t->lock);
    mi_free(t->buckets);
    mi_free(t);
}

void script_texts_flush(struct script_texts *t)
{
    pthread_mutex_lock(&t->lock);
    texts_clear(t);
    pthread_mutex_unlock(&t->lock);
}

static struct text *texts_find(struct script_texts *t, const char *sha)
{
    struct text *x = t->buckets[hash_of_sha(sha) & (t->n_buckets - 1)];
    while (x && memcmp(x->sha, sha, SCRIPT_SHA_LEN) != 0)
        x = x->next;
    return x;
}

static void texts_grow(struct script_texts *t)
{
    unsigned n = 2 * t->n_buckets;
    struct text **buckets = mi_calloc(n, sizeof(struct text *));
    if (!buckets)
        return;
    for (unsigned i = 0; i < t->n_buckets; i++)
        for (struct text *x = t->buckets[i], *next; x; x = next) {
            next = x->next;
            struct text **at = &buckets[hash_of_sha(x->sha) & (n - 1)];
            x->next = *at;
            *at = x;
        }
    mi_free(t->buckets);
    t->buckets = buckets;
    t->n_buckets = n;
}

// The text with that SHA1, with a reference for the caller; NULL: memory is short.
static struct block *texts_add(struct script_texts *t, const char *sha, const struct arg *text)
{
    pthread_mutex_lock(&t->lock);
    struct text *x = texts_find(t, sha);
    if (!x && (x = mi_zalloc(sizeof(*x)))) {
        x->text = text->block ? block_retain(text->block) : block_new(text->len);
        if (!x->text) {
            mi_free(x);
            x = NULL;
        } else {
            if (!text->block) {
                memcpy(x->text->data, text->ptr, text->len);
                x->text->len = text->len;
            }
            memcpy(x->sha, sha, SCRIPT_SHA_LEN);
            if (t->n >= t->n_buckets)
                texts_grow(t);
            struct text **at = &t->buckets[hash_of_sha(sha) & (t->n_buckets - 1)];
            x->next = *at;
            *at = x;
            t->n++;
            t->bytes += sizeof(*x) + block_memory(x->text);
        }
    }
    struct block *found = x ? block_retain(x->text) : NULL;
    pthread_mutex_unlock(&t->lock);
    return found;
}

static struct block *texts_get(struct script_texts *t, const char *sha)
{
    pthread_mutex_lock(&t->lock);
    struct text *x = texts_find(t, sha);
    struct block *found = x ? block_retain(x->text) : NULL;
    pthread_mutex_unlock(&t->lock);
    return found;
}

bool script_texts_has(struct script_texts *t, const struct arg *sha)
{
    char name[SCRIPT_SHA_LEN + 1];
    if (!sha_of(sha, name))
        return false;
    struct block *found = texts_get(t, name);
    block_release(found);
    return found;
}

void script_texts_figures(struct script_texts *t, uint64_t *scripts, uint64_t *bytes)
{
    pthread_mutex_lock(&t->lock);
    *scripts = t->n;
    *bytes = t->bytes;
    pthread_mutex_unlock(&t->lock);
}

// --- compiled functions --------------------------------------------------------------------------

struct script_code *script_code_new(lua_State *L, const char *name, size_t len, uint32_t flags,
                                    bool eval)
{
    int function = luaL_ref(L, LUA_REGISTRYINDEX);
    struct script_code *code = mi_zalloc(sizeof(*code));
    if (!code) {
        luaL_unref(L, LUA_REGISTRYINDEX, function);
        return NULL;
    }
    *code = (struct script_code){.refs = 1, .function = function, .flags = flags, .eval = eval};
    if (len > sizeof(code->name) - 1)
        len = sizeof(code->name) - 1;
    memcpy(code->name, name, len);
    return code;
}

void script_code_release(struct script_engine *e, struct script_code *code)
{
    if (!code || --code->refs)
        return;
    luaL_unref(e->loader, LUA_REGISTRYINDEX, code->function); // takes no memory
    mi_free(code);
}

// --- what this core has compiled -----------------------------------------------------------------

static uint64_t hash_of_text(const struct script_engine *e, const uint8_t *text, size_t len)
{
    return hash_key(&e->secret, text, len);
}

void cache_clear(struct script_engine *e)
{
    for (unsigned i = 0; i < e->n_buckets; i++)
        for (struct cached *x = e->by_text[i], *next; x; x = next) {
            next = x->next_text;
            script_code_release(e, x->code);
            block_release(x->text);
            mi_free(x);
        }
    mi_free(e->by_text);
    mi_free(e->by_sha);
    e->by_text = e->by_sha = NULL;
    e->n_cached = e->n_buckets = 0;
    e->last = NULL;
}

void script_forget(struct script_engine *e)
{
    cache_clear(e);
    lua_gc(e->loader, LUA_GCCOLLECT, 0);
}

static void cache_link(struct script_engine *e, struct cached *x)
{
    struct cached **at = &e->by_text[x->hash & (e->n_buckets - 1)];
    x->next_text = *at;
    *at = x;
    at = &e->by_sha[hash_of_sha(x->code->name) & (e->n_buckets - 1)];
    x->next_sha = *at;
    *at = x;
}

// Room for one more. False: memory is short.
static bool cache_room(struct script_engine *e)
{
    if (e->n_cached < e->n_buckets)
        return true;
    unsigned n = e->n_buckets ? 2 * e->n_buckets : BUCKETS_FIRST, old = e->n_buckets;
    struct cached **by_text = mi_calloc(n, sizeof(*by_text));
    struct cached **by_sha = mi_calloc(n, sizeof(*by_sha));
    if (!by_text || !by_sha) {
        mi_free(by_text);
        mi_free(by_sha);
        return false;
    }
    struct cached **was = e->by_text;
    mi_free(e->by_sha);
    e->by_text = by_text;
    e->by_sha = by_sha;
    e->n_buckets = n;
    for (unsigned i = 0; i < old; i++)
        for (struct cached *x = was[i], *next; x; x = next) {
            next = x->next_text;
            cache_link(e, x);
        }
    mi_free(was);
    return true;
}

static struct cached *find_text(struct script_engine *e, const struct arg *text, uint64_t *hash)
{
    struct cached *x = e->last;
    if (__builtin_expect(
            x && x->text->len == text->len && memcmp(x->text->data, text->ptr, text->len) == 0, 1))
        return x;
    *hash = hash_of_text(e, text->ptr, text->len);
    if (!e->n_buckets)
        return NULL;
    x = e->by_text[*hash & (e->n_buckets - 1)];
    while (x && !(x->hash == *hash && x->text->len == text->len &&
                  memcmp(x->text->data, text->ptr, text->len) == 0))
        x = x->next_text;
    if (x)
        e->last = x;
    return x;
}

static struct cached *find_sha(struct script_engine *e, const char *sha)
{
    struct cached *x = e->last;
    if (x && memcmp(x->code->name, sha, SCRIPT_SHA_LEN) == 0)
        return x;
    x = e->n_buckets ? e->by_sha[hash_of_sha(sha) & (e->n_buckets - 1)] : NULL;
    while (x && memcmp(x->code->name, sha, SCRIPT_SHA_LEN) != 0)
        x = x->next_sha;
    if (x)
        e->last = x;
    return x;
}

struct script_code *script_known_text(struct script_engine *e, const struct arg *text)
{
    uint64_t hash;
    struct cached *x = find_text(e, text, &hash);
    return x ? x->code : NULL;
}

struct script_code *script_known_sha(struct script_engine *e, const struct arg *sha)
{
    char name[SCRIPT_SHA_LEN + 1];
    struct cached *x = sha_of(sha, name) ? find_sha(e, name) : NULL;
    return x ? x->code : NULL;
}

// --- compiling -----------------------------------------------------------------------------------

static const struct {
    const char *name;
    uint32_t flag;
} flag_names[] = {
    {"no-writes", SCRIPT_NO_WRITES},
    {"allow-oom", SCRIPT_ALLOW_OOM},
    {"allow-stale", SCRIPT_ALLOW_STALE},
    {"no-cluster", SCRIPT_NO_CLUSTER},
    {"allow-cross-slot-keys", SCRIPT_ALLOW_CROSS_SLOT},
};

uint32_t script_flag_named(const char *name, size_t len)
{
    for (unsigned i = 0; i < sizeof(flag_names) / sizeof(*flag_names); i++)
        if (strlen(flag_names[i].name) == len && memcmp(flag_names[i].name, name, len) == 0)
            return flag_names[i].flag;
    return 0;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

// "flags=a,b" of a shebang.
static bool read_flags(const char *at, const char *end, uint32_t *flags, char *error, size_t size)
{
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma ? comma : end;
        uint32_t flag = script_flag_named(at, (size_t)(stop - at));
        if (!flag) {
            snprintf(error, size, "ERR Unexpected flag in script shebang: %.*s", (int)(stop - at),
                     at);
            return false;
        }
        *flags |= flag;
        at = comma ? comma + 1 : end;
    }
    return true;
}

// The first line, where it is "#!lua flags=…". `skip` bytes of the text are not Lua. False: the
// error is told.
static bool read_shebang(const char *text, size_t len, uint32_t *flags, size_t *skip, char *error,
                         size_t size)
{
    *flags = SCRIPT_COMPAT;
    *skip = 0;
    if (len < 2 || memcmp(text, "#!", 2) != 0)
        return true;
    const char *end = memchr(text, '\n', len);
    if (!end) {
        snprintf(error, size, "ERR Invalid script shebang");
        return false;
    }
    *skip = (size_t)(end - text);
    *flags = 0;
    bool first = true;
    for (const char *p = text; p < end;) {
        while (p < end && is_space(*p))
            p++;
        const char *word = p;
        while (p < end && !is_space(*p))
            p++;
        if (word == p)
            break;
        size_t n = (size_t)(p - word);
        if (first && (n != 5 || memcmp(word, "#!lua", 5) != 0)) {
            snprintf(error, size, "ERR Unexpected engine in script shebang: %.*s", (int)n, word);
            return false;
        }
        if (!first && (n < 6 || memcmp(word, "flags=", 6) != 0)) {
            snprintf(error, size, "ERR Unknown lua shebang option: %.*s", (int)n, word);
            return false;
        }
        if (!first && !read_flags(word + 6, p, flags, error, size))
            return false;
        first = false;
    }
    return true;
}

struct compiling {
    const char *text;
    size_t len;
    const char *sha;
    uint32_t flags;
    struct script_code *code;
    char *error;
    size_t size;
};

static int compile_protected(lua_State *L)
{
    struct compiling *c = lua_touserdata(L, 1);
    // Machine code of Lua is not checked when it is loaded, so it must not come from outside.
    if (c->len && *c->text == LUA_SIGNATURE[0]) {
        snprintf(c->error, c->size,
                 "ERR Error compiling script (new function): user_script:1: unexpected symbol near "
                 "'char(27)'");
        return 0;
    }
    if (luaL_loadbuffer(L, c->text, c->len, "@user_script")) {
        snprintf(c->error, c->size, "ERR Error compiling script (new function): %.*s", ERROR_SHOWN,
                 lua_tostring(L, -1));
        return 0;
    }
    c->code = script_code_new(L, c->sha, SCRIPT_SHA_LEN, c->flags, true);
    if (c->code && script_joins(c->text, c->len))
        c->code->reach = SCRIPT_REACH_ALL;
    return 0;
}

// Compiles and remembers. NULL: the error is told.
static struct script_code *compile(struct script_engine *e, const char *sha, struct block *text,
                                   char *error, size_t size)
{
    struct compiling c = {.sha = sha, .error = error, .size = size};
    size_t skip;
    if (!read_shebang((const char *)text->data, text->len, &c.flags, &skip, error, size))
        return NULL;
    c.text = (const char *)text->data + skip;
    c.len = text->len - skip;
    *error = '\0';
    if (lua_cpcall(e->loader, compile_protected, &c))
        lua_pop(e->loader, 1);
    if (!c.code && !*error)
        snprintf(error, size, "ERR Error compiling script (new function): not enough memory");
    return c.code;
}

// Takes over the references to `text` and `code` (NULL: it did not compile).
static struct script_code *add(struct script_engine *e, struct block *text,
                               struct script_code *code, char *error, size_t size)
{
    struct cached *x = code && cache_room(e) ? mi_zalloc(sizeof(*x)) : NULL;
    if (!x) {
        script_code_release(e, code);
        if (code)
            snprintf(error, size, "%s", ERR_OOM);
        block_release(text);
        return NULL;
    }
    x->text = text;
    x->code = code;
    x->hash = hash_of_text(e, text->data, text->len);
    cache_link(e, x);
    e->n_cached++;
    e->last = x;
    return code;
}

struct script_code *script_by_text(struct script_engine *e, struct script_texts *t,
                                   const struct arg *text, char *error, size_t size)
{
    uint64_t hash;
    struct cached *x = find_text(e, text, &hash);
    if (__builtin_expect(x != NULL, 1))
        return x->code;
    char sha[SCRIPT_SHA_LEN + 1];
    script_sha1(text->ptr, text->len, sha);
    // Compiled first: only what compiles is kept for all.
    struct block *own = block_new(text->len);
    if (!own) {
        snprintf(error, size, "%s", ERR_OOM);
        return NULL;
    }
    memcpy(own->data, text->ptr, text->len);
    own->len = text->len;
    struct script_code *code = compile(e, sha, own, error, size);
    block_release(own);
    struct block *shared = code ? texts_add(t, sha, text) : NULL;
    if (!shared) {
        if (code)
            snprintf(error, size, "%s", ERR_OOM);
        script_code_release(e, code);
        return NULL;
    }
    return add(e, shared, code, error, size);
}

struct script_code *script_by_sha(struct script_engine *e, struct script_texts *t,
                                  const struct arg *sha, char *error, size_t size)
{
    char name[SCRIPT_SHA_LEN + 1];
    *error = '\0';
    if (!sha_of(sha, name))
        return NULL;
    struct cached *x = find_sha(e, name);
    if (__builtin_expect(x != NULL, 1))
        return x->code;
    struct block *text = texts_get(t, name);
    if (!text)
        return NULL;
    struct script_code *code = compile(e, name, text, error, size);
    return add(e, text, code, error, size);
}
