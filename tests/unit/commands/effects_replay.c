// Effects give the same state whenever they are executed: a program of random commands runs on one
// store, what it tells as effects runs on another, later, where nothing expires by itself and
// random numbers are others, and both must hold the same keys in the end.
//
// usage: effects_replay FILE. The file is RESP: commands, and "@TIME milliseconds", which moves the
// first store's clock. Times, values and keys are drawn by effects_replay.py.
#include <inttypes.h>
#include <mimalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/arg.h"
#include "common/block.h"
#include "common/outbuf.h"
#include "dataplane/commands/command.h"
#include "dataplane/commands/effects.h"
#include "tests/unit/commands/arity.h"

enum { DATABASES = 4, ARGS_MAX = 4096, COMPARE_EVERY = 250, REPLAY_LATER_MS = 12345 };

struct core { // what handlers hand to services
    uint64_t random;
};

struct side {
    const char *name;
    struct keyspace *keyspace;
    struct store *store;
    struct core core;
    struct session session;
    uint64_t now_ms;
    struct effects *effects;
};

struct text {
    uint8_t *ptr;
    size_t len;
};

static void keys_replaced(struct request *r, int db, int other)
{
    (void)r;
    (void)db;
    (void)other;
}

static struct services services;
static struct value_limits limits;
static char last_command[512]; // for the report

static void fail(const char *what, const char *detail)
{
    fprintf(stderr, "%s%s%s\nlast command: %s\n", what, *detail ? ": " : "", detail, last_command);
    exit(1);
}

// --- the world of a handler ----------------------------------------------------------------------

static void get_config(struct core *core, const char *pattern, size_t len, config_each_fn *each,
                       void *context)
{
    (void)core;
    static const char *const options[][2] = {{"proto-max-bulk-len", "536870912"},
                                             {"maxmemory-policy", "noeviction"}};
    for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
        if (strlen(options[i][0]) == len && !memcmp(options[i][0], pattern, len))
            each(context, options[i][0], options[i][1]);
}

static uint64_t next_random(struct core *core)
{
    core->random = core->random * 6364136223846793005u + 1442695040888963407u;
    return core->random >> 33;
}

static void gone(void *context, enum store_gone why, unsigned db, const struct key *key,
                 const uint8_t *field, size_t field_len)
{
    struct side *side = context;
    if (side->effects)
        effects_gone(side->effects, why, db, key, field, field_len);
}

static void side_open(struct side *side, const char *name, uint64_t seed, uint64_t now_ms)
{
    const struct keyspace_config config = {
        .cores = 1, .databases = DATABASES, .secret = "sixteen letters", .epoch_ms = now_ms};
    *side = (struct side){.name = name, .now_ms = now_ms, .core = {.random = seed}};
    side->keyspace = keyspace_create(&config);
    side->store = side->keyspace ? store_create(side->keyspace, 0, seed) : NULL;
    if (!side->store)
        fail("out of memory", "");
    side->session = (struct session){.resp = 2, .authenticated = true};
    store_on_gone(side->store, gone, side);
    store_set_time(side->store, now_ms);
}

static void side_close(struct side *side)
{
    store_destroy(side->store);
    keyspace_destroy(side->keyspace);
}

static void note(const struct arg *argv, int argc)
{
    size_t at = 0;
    for (int i = 0; i < argc && at + 4 < sizeof(last_command); i++) {
        for (size_t k = 0; k < argv[i].len && k < 40 && at + 4 < sizeof(last_command); k++)
            last_command[at++] =
                argv[i].ptr[k] >= ' ' && argv[i].ptr[k] < 127 ? (char)argv[i].ptr[k] : '.';
        last_command[at++] = ' ';
    }
    last_command[at] = '\0';
}

static bool word_is(const struct arg *a, const char *word)
{
    return a->len == strlen(word) && !strncasecmp((const char *)a->ptr, word, a->len);
}

// Runs a command and leaves the reply in `out`. False: it is no command of keys.
static bool run(struct side *side, struct arg *argv, int argc, struct outbuf *out)
{
    const struct command *command = commands_find(argv, argc);
    if (argc == 2 && word_is(&argv[0], "select")) {
        int64_t db;
        if (parse_int64(argv[1].ptr, argv[1].len, &db) && db >= 0 && db < DATABASES)
            side->session.db = (uint32_t)db;
        return true;
    }
    if (!command || (command->route != ROUTE_KEYS && command->route != ROUTE_ALL) ||
        !check_arity(&out->out, command, argc))
        return false;
    struct request r = {
        .session = &side->session,
        .command = command,
        .argc = argc,
        .argv = argv,
        .out = &out->out,
        .store = side->store,
        .services = &services,
        .core = &side->core,
        .now_ms = side->now_ms,
        .now_us = side->now_ms * 1000,
        .limits = &limits,
        .effects = side->effects,
    };
    int at = commands_single_key(command, argc);
    if (at > 0)
        r.key = keyspace_key(side->keyspace, argv[at].ptr, argv[at].len);
    if (r.effects)
        effects_start(&r);
    command->handler(&r);
    if (r.effects)
        effects_end(&r);
    return true;
}

static struct text collect(struct outbuf *out)
{
    outbuf_finish(out);
    struct text t = {mi_malloc(out->bytes + 1), 0};
    for (struct outbuf_piece *p = out->first; p; p = p->next) {
        memcpy(t.ptr + t.len, p->block->data + p->offset, p->len);
        t.len += p->len;
    }
    t.ptr[t.len] = '\0';
    outbuf_clear(out);
    return t;
}

// --- RESP ----------------------------------------------------------------------------------------

static int64_t number_at(const uint8_t **at, char kind)
{
    if (**at != (uint8_t)kind)
        fail("not RESP", (const char *)*at);
    char *end;
    int64_t n = strtoll((const char *)*at + 1, &end, 10);
    *at = (const uint8_t *)end + 2;
    return n;
}

// The next command; 0 at the end.
static int next_command(const uint8_t **at, const uint8_t *end, struct arg *argv)
{
    if (*at >= end)
        return 0;
    int64_t argc = number_at(at, '*');
    if (argc < 1 || argc > ARGS_MAX)
        fail("too many words", "");
    for (int64_t i = 0; i < argc; i++) {
        size_t len = (size_t)number_at(at, '$');
        argv[i] = (struct arg){.ptr = *at, .len = len};
        *at += len + 2;
    }
    return (int)argc;
}

// --- both sides ----------------------------------------------------------------------------------

static struct arg effect_argv[ARGS_MAX];

// Executes on `to` what was told, and forgets it.
static void replay(struct side *from, struct side *to)
{
    if (!from->effects->commands)
        return;
    struct text all = collect(&from->effects->out);
    const uint8_t *at = all.ptr;
    unsigned n = 0;
    for (int argc; (argc = next_command(&at, all.ptr + all.len, effect_argv)); n++) {
        struct outbuf out;
        outbuf_init(&out);
        bool known = run(to, effect_argv, argc, &out);
        struct text reply = collect(&out);
        if (!known || *reply.ptr == '-') {
            note(effect_argv, argc);
            fail("an effect cannot be executed", (const char *)reply.ptr);
        }
        mi_free(reply.ptr);
    }
    if (n != from->effects->commands)
        fail("effects are miscounted", "");
    from->effects->commands = 0;
    mi_free(all.ptr);
}

static int by_bytes(const void *a, const void *b)
{
    const struct arg *x = a, *y = b;
    int d = memcmp(x->ptr, y->ptr, x->len < y->len ? x->len : y->len);
    return d ? d : (x->len > y->len) - (x->len < y->len);
}

// Sorts the elements of a reply, an array of bulk strings, `step` of them together.
static void sort_reply(struct text *reply, unsigned step)
{
    const uint8_t *at = reply->ptr;
    int64_t n = number_at(&at, '*') / step;
    struct arg *items = mi_mallocn((size_t)n + 1, sizeof(*items));
    for (int64_t i = 0; i < n; i++) {
        items[i].ptr = at;
        for (unsigned k = 0; k < step; k++) {
            size_t len = (size_t)number_at(&at, '$');
            at += len + 2;
        }
        items[i].len = (size_t)(at - items[i].ptr);
    }
    qsort(items, (size_t)n, sizeof(*items), by_bytes);
    uint8_t *sorted = mi_malloc(reply->len + 1);
    size_t len = 0;
    for (int64_t i = 0; i < n; i++) {
        memcpy(sorted + len, items[i].ptr, items[i].len);
        len += items[i].len;
    }
    sorted[len] = '\0';
    mi_free(items);
    mi_free(reply->ptr);
    *reply = (struct text){sorted, len};
}

// When a consumer was last seen is no part of what is told, in Redis as well.
static void blank_seen(struct text *reply)
{
    static const char label[] = "seen-time\r\n:";
    uint8_t *end = reply->ptr + reply->len, *at = reply->ptr;
    while ((at = memmem(at, (size_t)(end - at), label, strlen(label)))) {
        at += strlen(label);
        while (*at >= '0' && *at <= '9')
            *at++ = '?';
    }
}

// What `words` (KEY stands for the key) answer about a key.
static struct text ask(struct side *side, unsigned db, const char *words, const struct arg *key,
                       unsigned sorted)
{
    struct arg argv[16];
    int argc = 0;
    char copy[128];
    snprintf(copy, sizeof(copy), "%s", words);
    for (char *save, *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
        argv[argc++] =
            strcmp(w, "KEY") ? (struct arg){.ptr = (uint8_t *)w, .len = strlen(w)} : *key;
    struct outbuf out;
    outbuf_init(&out);
    struct effects *effects = side->effects;
    uint32_t session_db = side->session.db;
    side->effects = NULL;
    side->session.db = db;
    if (!run(side, argv, argc, &out))
        reply_error(&out.out, "ERR no such command");
    side->effects = effects;
    side->session.db = session_db;
    struct text reply = collect(&out);
    if (sorted && *reply.ptr == '*')
        sort_reply(&reply, sorted);
    blank_seen(&reply);
    return reply;
}

static void compare_reply(struct side *a, struct side *b, unsigned db, const char *words,
                          const struct arg *key, unsigned sorted)
{
    struct text x = ask(a, db, words, key, sorted), y = ask(b, db, words, key, sorted);
    if (x.len != y.len || memcmp(x.ptr, y.ptr, x.len)) {
        fprintf(stderr, "%s of %.*s, database %u\n  %s: %.400s\n  %s: %.400s\n", words,
                (int)key->len, (const char *)key->ptr, db, a->name, (char *)x.ptr, b->name,
                (char *)y.ptr);
        fail("the stores differ", "");
    }
    mi_free(x.ptr);
    mi_free(y.ptr);
}

static const struct {
    enum object_type type;
    const char *words;
    unsigned sorted;
} contents[] = {
    {OBJ_STRING, "GET KEY", 0},   {OBJ_LIST, "LRANGE KEY 0 -1", 0},
    {OBJ_SET, "SMEMBERS KEY", 1}, {OBJ_ZSET, "ZRANGE KEY 0 -1 WITHSCORES", 0},
    {OBJ_HASH, "HGETALL KEY", 2}, {OBJ_STREAM, "XINFO STREAM KEY FULL COUNT 0", 0},
};

struct names {
    struct arg *key;
    size_t n, room;
};

static void take_name(void *context, struct entry *e)
{
    struct names *names = context;
    if (names->n == names->room) {
        names->room = names->room ? 2 * names->room : 64;
        names->key = mi_reallocn(names->key, names->room, sizeof(*names->key));
    }
    size_t len;
    const uint8_t *bytes = entry_key(e, &len);
    uint8_t *copy = mi_malloc(len + 1);
    memcpy(copy, bytes, len);
    names->key[names->n++] = (struct arg){.ptr = copy, .len = len};
}

static void free_names(struct names *names)
{
    for (size_t i = 0; i < names->n; i++)
        mi_free((void *)names->key[i].ptr);
    mi_free(names->key);
}

static void compare_key(struct side *a, struct side *b, unsigned db, const struct arg *name)
{
    struct key key = keyspace_key(a->keyspace, name->ptr, name->len);
    struct entry *x = store_find(a->store, db, &key, LOOKUP_WRITE | LOOKUP_NO_TOUCH);
    replay(a, b); // it may have expired just now
    struct entry *y = store_find(b->store, db, &key, LOOKUP_WRITE | LOOKUP_NO_TOUCH);
    if (!x || !y) {
        if (x || y)
            fail(x ? "a key is missing in the copy" : "a key is left in the copy",
                 (const char *)name->ptr);
        return;
    }
    if (entry_expiry(x) != entry_expiry(y)) {
        fprintf(stderr, "expiry of %.*s: %" PRId64 " and %" PRId64 "\n", (int)name->len,
                (const char *)name->ptr, entry_expiry(x), entry_expiry(y));
        fail("the stores differ", "");
    }
    compare_reply(a, b, db, "TYPE KEY", name, 0);
    // A string's encoding tells how it came to be (SET of a sum, SETBIT of a bit that was set), in
    // Redis as well.
    if (entry_type(x) != OBJ_STRING)
        compare_reply(a, b, db, "OBJECT ENCODING KEY", name, 0);
    for (size_t i = 0; i < sizeof(contents) / sizeof(*contents); i++)
        if (contents[i].type == entry_type(x))
            compare_reply(a, b, db, contents[i].words, name, contents[i].sorted);
}

static void compare(struct side *a, struct side *b)
{
    for (unsigned db = 0; db < DATABASES; db++) {
        struct names names = {0};
        store_each(b->store, db, take_name, &names);
        store_each(a->store, db, take_name, &names);
        for (size_t i = 0; i < names.n; i++)
            compare_key(a, b, db, &names.key[i]);
        free_names(&names);
    }
}

// Whether this is SORT of a sorted set that is still small. It makes it a big one without a word,
// in Redis as well.
static bool sorts_small_zset(struct side *side, const struct arg *argv, int argc)
{
    if (argc < 2 || (!word_is(&argv[0], "sort") && !word_is(&argv[0], "sort_ro")))
        return false;
    struct key key = keyspace_key(side->keyspace, argv[1].ptr, argv[1].len);
    struct entry *e =
        store_find(side->store, side->session.db, &key, LOOKUP_WRITE | LOOKUP_NO_TOUCH);
    return e && entry_type(e) == OBJ_ZSET && entry_encoding(e) == ENC_LISTPACK;
}

// Runs a command on `a` and what it tells on `b`.
static void play_command(struct side *a, struct side *b, struct arg *argv, int argc)
{
    struct outbuf out;
    outbuf_init(&out);
    uint32_t db = a->session.db;
    bool sorts = sorts_small_zset(a, argv, argc);
    run(a, argv, argc, &out);
    outbuf_clear(&out);
    replay(a, b);
    if (sorts && !sorts_small_zset(a, argv, argc))
        mi_free(ask(b, db, "SORT_RO KEY BY nosort", &argv[1], 0).ptr);
}

// Runs the program on `a` and what it tells on `b`.
static void play(const uint8_t *at, const uint8_t *end, struct side *a, struct side *b)
{
    static struct arg argv[ARGS_MAX];
    int argc;
    unsigned n = 0;
    while ((argc = next_command(&at, end, argv))) {
        note(argv, argc);
        if (word_is(&argv[0], "@time")) {
            int64_t ms;
            parse_int64(argv[1].ptr, argv[1].len, &ms);
            a->now_ms += (uint64_t)ms;
            store_set_time(a->store, a->now_ms);
            store_maintain(a->store, 1000);
            b->now_ms = a->now_ms + REPLAY_LATER_MS;
            replay(a, b);
        } else {
            play_command(a, b, argv, argc);
        }
        if (++n % COMPARE_EVERY == 0)
            compare(a, b);
    }
    compare(a, b);
    printf("%u commands, %" PRIu64 " keys in the end\n", n, keyspace_keys(a->keyspace, 0));
}

static uint8_t *read_file(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail("cannot open", path);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    uint8_t *bytes = mi_malloc(*size + 1);
    if (fread(bytes, 1, *size, f) != *size)
        fail("cannot read", path);
    fclose(f);
    bytes[*size] = '\0';
    return bytes;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        fail("usage: effects_replay FILE", "");
    size_t size;
    uint8_t *program = read_file(argv[1], &size);
    const uint8_t *at = program;
    static struct arg first[ARGS_MAX];
    int64_t start_ms;
    if (next_command(&at, program + size, first) != 2 || !word_is(&first[0], "@time") ||
        !parse_int64(first[1].ptr, first[1].len, &start_ms))
        fail("the program does not begin with its time", "");
    commands_init();
    services = (struct services){
        .config_get = get_config, .random = next_random, .keys_replaced = keys_replaced};
    // Low, so that many values are of the bigger kind.
    limits = (struct value_limits){
        .hash_max_listpack_entries = 8,
        .hash_max_listpack_value = 64,
        .set_max_intset_entries = 8,
        .set_max_listpack_value = 64,
        .zset_max_listpack_entries = 8,
        .zset_max_listpack_value = 64,
        .hll_sparse_max_bytes = 3000,
        .stream_node_max_bytes = 4096,
        .stream_node_max_entries = 10,
        .bulk_max = 512 << 20,
        .list_max_listpack_size = 8,
        .rdb_compression = true,
    };
    static struct side a, b;
    struct effects effects = {0};
    outbuf_init(&effects.out);
    side_open(&a, "executed", 1, (uint64_t)start_ms);
    side_open(&b, "replayed", 2, (uint64_t)start_ms);
    a.effects = &effects;
    play(at, program + size, &a, &b);
    outbuf_clear(&effects.out);
    side_close(&a);
    side_close(&b);
    mi_free(program);
    return 0;
}
