// The command table: the families' tables gathered into one, in order of name, with dense numbers,
// and a look-up that costs one probe. A name of up to sixteen bytes is two words: its first eight
// bytes and its last eight, lower-cased; with the length they are the name, so that look-up
// compares words, not text.
#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dataplane/commands/families.h"
#include "dataplane/commands/permission.h"

// Bounds of the table, generous: Redis 7.0 has 241 commands and 130 subcommands.
#define COMMANDS_MAX 512
// A power of two and at least eight times the top-level commands, so that a probe nearly always
// ends at its first place.
#define PLACES 4096
#define PLACES_BITS 12
// Characters of an unknown name, and of its arguments in all, that an error shows.
#define UNKNOWN_SHOWN 128

struct name_words {
    uint64_t head, tail; // the first and last eight bytes, lower-cased, zero-filled
    size_t len;
};

struct place {
    uint64_t head, tail;
    const struct command *command; // NULL: free
    size_t len;
};

static const struct command *const families[] = {COMMAND_FAMILIES};

static struct place places[PLACES];
static struct command storage[COMMANDS_MAX]; // a parent, then its subcommands and their terminator
static const struct command *by_id[COMMANDS_MAX], *top_level[COMMANDS_MAX]; // the latter by name
static unsigned n_storage, n_by_id, n_top_level;
// What clients call a command of the top level, by number: NULL is its own name, "" is nothing.
static char *called[COMMANDS_MAX];
static const struct command *known[COMMANDS_MAX]; // those of the top level that can be called
static unsigned n_known;

// --- names as words ----------------------------------------------------------------------------

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof(w));
    return w;
}

// The first n (< 8) bytes without reading behind them: two overlapping loads.
static inline uint64_t load_short(const uint8_t *p, size_t n)
{
    if (n >= 4) {
        uint32_t a, b;
        memcpy(&a, p, sizeof(a));
        memcpy(&b, p + n - 4, sizeof(b));
        return a | (uint64_t)b << (8 * (n - 4));
    }
    if (n == 0)
        return 0;
    return p[0] | (uint64_t)p[n / 2] << (8 * (n / 2)) | (uint64_t)p[n - 1] << (8 * (n - 1));
}

// Sets bit 0x20 of every byte that is a capital letter.
static inline uint64_t lower_word(uint64_t w)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t low7 = w & (ones * 0x7f);
    uint64_t from_a = low7 + ones * (0x80 - 'A');      // bit 7: at least 'A'
    uint64_t above_z = low7 + ones * (0x80 - 'Z' - 1); // bit 7: above 'Z'
    return w | ((from_a & ~above_z & ~w & (ones * 0x80)) >> 2);
}

static inline struct name_words name_words(const uint8_t *name, size_t len)
{
    struct name_words n = {.len = len};
    if (len < 8) {
        n.head = lower_word(load_short(name, len));
        return n;
    }
    n.head = lower_word(load64(name));
    n.tail = lower_word(load64(name + len - 8));
    return n;
}

static inline size_t place_of(const struct name_words *n)
{
    // Fibonacci hashing of all that tells names apart.
    uint64_t x = (n->head ^ (n->tail << 7 | n->tail >> 57)) + n->len;
    return (size_t)((x * 0x9e3779b97f4a7c15u) >> (64 - PLACES_BITS));
}

static inline bool same_name(const char *own, const uint8_t *name, size_t len)
{
    return strncasecmp(own, (const char *)name, len) == 0 && own[len] == '\0';
}

static const char *name_of(const struct command *c)
{
    return called[c->id] ? called[c->id] : c->name;
}

static const struct command *find_top(const uint8_t *name, size_t len)
{
    struct name_words n = name_words(name, len);
    for (size_t i = place_of(&n);; i = (i + 1) % PLACES) {
        const struct place *p = &places[i];
        if (p->head == n.head && p->tail == n.tail && p->len == len && p->command &&
            (len <= 16 || same_name(name_of(p->command), name, len)))
            return p->command;
        if (!p->command)
            return NULL;
    }
}

static const struct command *find_sub(const struct command *parent, const uint8_t *name, size_t len)
{
    for (const struct command *c = parent->subcommands; c->name; c++)
        if (strlen(c->name) == len && same_name(c->name, name, len))
            return c;
    return NULL;
}

// --- timing ------------------------------------------------------------------------------------

// Commands that may be timed together, and up to how many arguments. What they do is bounded by
// these: no count, no walk over a value.
static const struct {
    const char *name;
    uint16_t argc;
} timed_together[] = {
    {"append", 3},    {"decr", 2},    {"decrby", 3},  {"echo", 2},   {"exists", 8},  {"expire", 4},
    {"get", 2},       {"getbit", 3},  {"getex", 4},   {"getset", 3}, {"hexists", 3}, {"hget", 3},
    {"hincrby", 4},   {"hlen", 2},    {"hmget", 16},  {"hset", 16},  {"hsetnx", 4},  {"hstrlen", 3},
    {"incr", 2},      {"incrby", 3},  {"llen", 2},    {"lpop", 2},   {"lpush", 16},  {"mget", 16},
    {"mset", 16},     {"pexpire", 4}, {"ping", 2},    {"psetex", 4}, {"pttl", 2},    {"rpop", 2},
    {"rpush", 16},    {"sadd", 16},   {"scard", 2},   {"set", 7},    {"setex", 4},   {"setnx", 3},
    {"sismember", 3}, {"spop", 2},    {"srem", 16},   {"strlen", 2}, {"ttl", 2},     {"type", 2},
    {"zadd", 16},     {"zcard", 2},   {"zincrby", 4}, {"zrank", 3},  {"zrem", 16},   {"zscore", 3},
};

static uint16_t together(const char *name)
{
    for (size_t i = 0; i < sizeof(timed_together) / sizeof(timed_together[0]); i++)
        if (!strcmp(name, timed_together[i].name))
            return timed_together[i].argc;
    return 0;
}

// --- building ----------------------------------------------------------------------------------

static int by_name(const void *a, const void *b)
{
    const struct command *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

// Copies an entry; the terminator of a list of subcommands too, which gets no number.
static struct command *append(const struct command *c, const struct command *parent)
{
    assert(n_storage < COMMANDS_MAX);
    struct command *to = &storage[n_storage++];
    *to = *c;
    to->parent = parent;
    if (!c->name)
        return to;
    assert(c->handler || c->subcommands);
    assert(c->route != ROUTE_GATHER || c->part);
    const struct keyspec *k = to->keys;
    if (to->n_keys == 1 && k->begin == BEGIN_INDEX && k->find == FIND_RANGE && !k->last_key &&
        !(k->flags & (KS_NOT_KEY | KS_INCOMPLETE)))
        to->sole_key = (uint16_t)k->begin_index;
    to->together = parent ? 0 : together(to->name);
    to->id = (uint16_t)n_by_id;
    by_id[n_by_id++] = to;
    return to;
}

static void append_with_subcommands(const struct command *c)
{
    struct command *parent = append(c, NULL);
    top_level[n_top_level++] = parent;
    if (!c->subcommands)
        return;
    parent->subcommands = &storage[n_storage];
    for (const struct command *s = c->subcommands; s->name; s++)
        append(s, parent);
    append(&(struct command){.name = NULL}, parent);
}

static void insert(const struct command *c)
{
    const char *name = name_of(c);
    struct name_words n = name_words((const uint8_t *)name, strlen(name));
    size_t i = place_of(&n);
    while (places[i].command)
        i = (i + 1) % PLACES;
    places[i] = (struct place){.head = n.head, .tail = n.tail, .command = c, .len = n.len};
}

static void build_places(void)
{
    memset(places, 0, sizeof(places));
    n_known = 0;
    for (unsigned i = 0; i < n_top_level; i++) {
        if (!*name_of(top_level[i]))
            continue;
        insert(top_level[i]);
        known[n_known++] = top_level[i];
    }
}

void commands_init(void)
{
    if (n_by_id)
        return;
    const struct command *sorted[COMMANDS_MAX] = {NULL};
    unsigned n = 0;
    for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++)
        for (const struct command *c = families[f]; c->name; c++) {
            assert(n < COMMANDS_MAX && n < PLACES / 8);
            sorted[n++] = c;
        }
    qsort(sorted, n, sizeof(sorted[0]), by_name);
    for (unsigned i = 0; i < n; i++) {
        assert(i == 0 || strcmp(sorted[i - 1]->name, sorted[i]->name) != 0);
        append_with_subcommands(sorted[i]);
    }
    build_places();
    permission_init();
}

// --- look-up -----------------------------------------------------------------------------------

unsigned commands_count(void)
{
    return n_by_id;
}

const struct command *commands_by_id(unsigned id)
{
    assert(id < n_by_id);
    return by_id[id];
}

const struct command *const *commands_all(unsigned *n)
{
    *n = n_known;
    return known;
}

const char *commands_rename(const char *from, const char *to)
{
    const struct command *c = find_top((const uint8_t *)from, strlen(from));
    if (!c)
        return "there is no such command";
    if (*to && find_top((const uint8_t *)to, strlen(to)))
        return "the new name is that of another command";
    char *name = strdup(to);
    if (!name)
        return "out of memory";
    free(called[c->id]);
    called[c->id] = name;
    build_places();
    return NULL;
}

bool commands_callable(const struct command *c)
{
    return *name_of(c->parent ? c->parent : c);
}

const struct command *commands_find(const struct arg *argv, int argc)
{
    const struct command *c = find_top(argv[0].ptr, argv[0].len);
    if (__builtin_expect(!c || !c->subcommands || argc == 1, 1))
        return c;
    return find_sub(c, argv[1].ptr, argv[1].len);
}

const struct command *commands_find_again(struct command_memo *memo, const struct arg *argv,
                                          int argc)
{
    const uint8_t *name = argv[0].ptr;
    size_t len = argv[0].len;
    if (len > 16)
        return commands_find(argv, argc);
    uint64_t head = len < 8 ? load_short(name, len) : load64(name);
    uint64_t tail = len < 8 ? 0 : load64(name + len - 8);
    if (__builtin_expect(head == memo->head && tail == memo->tail && len == memo->len, 1))
        return memo->command;
    const struct command *c = commands_find(argv, argc);
    if (c && !c->parent && !c->subcommands)
        *memo = (struct command_memo){head, tail, len, c};
    return c;
}

const struct command *commands_find_name(const char *name, size_t len)
{
    const char *bar = memchr(name, '|', len);
    if (!bar)
        return find_top((const uint8_t *)name, len);
    size_t head = (size_t)(bar - name);
    const struct command *c = find_top((const uint8_t *)name, head);
    if (!c || !c->subcommands)
        return NULL;
    return find_sub(c, (const uint8_t *)bar + 1, len - head - 1);
}

// --- errors ------------------------------------------------------------------------------------

// Appends at most `max` bytes of an argument, up to a zero byte, as C's %.*s would show it.
static size_t show(char *to, const struct arg *a, size_t max, bool upper)
{
    size_t n = strnlen((const char *)a->ptr, a->len < max ? a->len : max);
    for (size_t i = 0; i < n; i++) {
        char c = (char)a->ptr[i];
        if (c == '\r' || c == '\n')
            c = ' ';
        to[i] = upper ? (char)toupper((unsigned char)c) : c;
    }
    return n;
}

void commands_reply_unknown(struct out *o, const struct arg *argv, int argc)
{
    char name[UNKNOWN_SHOWN + 1];
    const struct command *container = find_top(argv[0].ptr, argv[0].len);
    if (container && container->subcommands && argc > 1) {
        char sub[UNKNOWN_SHOWN + 1];
        name[show(name, &argv[0], UNKNOWN_SHOWN, true)] = '\0';
        sub[show(sub, &argv[1], UNKNOWN_SHOWN, false)] = '\0';
        reply_errorf(o, "ERR unknown subcommand '%s'. Try %s HELP.", sub, name);
        return;
    }
    // Each argument is clipped to what is left of UNKNOWN_SHOWN, and adds three characters of its
    // own.
    char args[2 * UNKNOWN_SHOWN + 4];
    size_t len = 0;
    for (int i = 1; i < argc && len < UNKNOWN_SHOWN; i++) {
        args[len++] = '\'';
        len += show(args + len, &argv[i], UNKNOWN_SHOWN - (len - 1), false);
        args[len++] = '\'';
        args[len++] = ' ';
    }
    args[len] = '\0';
    name[show(name, &argv[0], UNKNOWN_SHOWN, false)] = '\0';
    reply_errorf(o, "ERR unknown command '%s', with args beginning with: %s", name, args);
}

void commands_arity_error(const struct command *c, char *text, size_t size)
{
    snprintf(text, size, "ERR wrong number of arguments for '%s' command", permission_name(c));
}

// --- keys --------------------------------------------------------------------------------------

int commands_single_key_long(const struct command *c, int argc)
{
    if (c->n_keys == 0)
        return 0;
    const struct keyspec *k = c->keys;
    if (c->n_keys > 1 || k->begin != BEGIN_INDEX || k->find != FIND_RANGE ||
        (k->flags & (KS_NOT_KEY | KS_INCOMPLETE)))
        return -1;
    if (k->last_key == 0)
        return k->begin_index < argc ? k->begin_index : -1;
    // DEL, EXISTS, MGET … with one key.
    if (k->last_key == -1 && k->limit == 0 && argc == k->begin_index + 1)
        return k->begin_index;
    return -1;
}

int commands_counted_key(const struct command *c, const struct arg *argv, int argc)
{
    const struct keyspec *k = c->keys;
    if (c->n_keys != 1 || k->begin != BEGIN_INDEX || k->find != FIND_KEYNUM ||
        k->flags & (KS_NOT_KEY | KS_INCOMPLETE))
        return -1;
    int count = k->begin_index + k->keynum_index, at = k->begin_index + k->first_key;
    if (count >= argc || at >= argc || argv[count].len != 1 || *argv[count].ptr != '1')
        return -1;
    return at;
}
