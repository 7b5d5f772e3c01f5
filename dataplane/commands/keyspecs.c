// Keys among the arguments of a command, as its key specifications say, or a function of its own
// where they cannot.
#include <string.h>
#include <strings.h>

#include "dataplane/commands/command.h"

// Where the keys of a specification begin; 0: the keyword is absent; -1: it cannot be known.
static int spec_begin(const struct keyspec *k, const struct arg *argv, int argc)
{
    if (k->begin == BEGIN_INDEX)
        return k->begin_index;
    if (k->begin == BEGIN_UNKNOWN)
        return -1;
    // A negative start counts from the end and searches backwards.
    int step = k->begin_index > 0 ? 1 : -1;
    int start = k->begin_index > 0 ? k->begin_index : argc + k->begin_index;
    size_t len = strlen(k->begin_keyword);
    for (int i = start; i > 0 && i < argc; i += step)
        if (argv[i].len == len && !strncasecmp((const char *)argv[i].ptr, k->begin_keyword, len))
            return i + 1;
    return 0;
}

// The range [*first, *last] with `step`; false when the arguments do not fit the specification.
static bool spec_range(const struct keyspec *k, const struct arg *argv, int argc, int *first,
                       int *last)
{
    if (k->find == FIND_RANGE) {
        if (k->last_key >= 0)
            *last = *first + k->last_key;
        else if (k->limit == 0)
            *last = argc + k->last_key;
        else
            *last = *first + (argc - *first) / k->limit + k->last_key;
    } else if (k->find == FIND_KEYNUM) {
        int at = *first + k->keynum_index;
        int64_t n;
        if (at >= argc || !parse_int64(argv[at].ptr, argv[at].len, &n) || n < 0 || n > argc)
            return false;
        *first += k->first_key;
        *last = *first + ((int)n - 1) * k->key_step;
        if (n == 0)
            return true;
    } else {
        return false;
    }
    return *first < argc && *last < argc && *last >= *first;
}

// Where keys are told to: one of the two.
struct told {
    int *positions;
    struct key_use *uses;
    int n, max;
};

static void tell(struct told *to, int at, uint32_t flags)
{
    if (to->n < to->max && to->uses)
        to->uses[to->n] = (struct key_use){at, flags};
    else if (to->n < to->max)
        to->positions[to->n] = at;
    to->n++;
}

static bool arg_is(const struct arg *a, const char *word)
{
    return a->len == strlen(word) && strncasecmp((const char *)a->ptr, word, a->len) == 0;
}

// BITFIELD with nothing but GET reads.
static uint32_t bitfield_flags(const struct arg *argv, int argc)
{
    for (int i = 2; i < argc;) {
        int more = argc - i - 1;
        if (arg_is(&argv[i], "get") && more >= 2)
            i += 3;
        else if (arg_is(&argv[i], "overflow") && more >= 1)
            i += 2;
        else
            return KS_RW | KS_ACCESS | KS_UPDATE;
    }
    return KS_RO | KS_ACCESS;
}

// SET reads its key only where it returns the old value.
static uint32_t set_flags(const struct arg *argv, int argc)
{
    for (int i = 3; i < argc; i++)
        if (arg_is(&argv[i], "get"))
            return KS_RW | KS_ACCESS | KS_UPDATE;
    return KS_OW | KS_UPDATE;
}

static uint32_t flags_of(const struct command *c, const struct keyspec *k, const struct arg *argv,
                         int argc)
{
    if (!(k->flags & KS_VARIABLE_FLAGS))
        return k->flags;
    return strcmp(c->name, "bitfield") == 0 ? bitfield_flags(argv, argc) : set_flags(argv, argc);
}

static int walk(const struct command *c, const struct arg *argv, int argc, struct told *to)
{
    for (unsigned s = 0; s < c->n_keys; s++) {
        const struct keyspec *k = &c->keys[s];
        if (k->flags & KS_NOT_KEY)
            continue;
        int first = spec_begin(k, argv, argc), last;
        if (first == 0)
            continue;
        // A list behind other keys may be empty: PFMERGE with nothing but a destination.
        // So may one behind a word that ends the command: GEORADIUS … STORE.
        if (s && first >= argc && (k->begin == BEGIN_INDEX || k->begin_index > 0))
            continue;
        if (first < 0 || (k->flags & KS_INCOMPLETE) || !spec_range(k, argv, argc, &first, &last))
            return -1;
        uint32_t flags = to->uses ? flags_of(c, k, argv, argc) : 0;
        for (int i = first; i <= last; i += k->key_step)
            tell(to, i, flags);
    }
    return to->n;
}

int commands_keys(const struct command *c, const struct arg *argv, int argc, int *positions,
                  int max)
{
    if (c->find_keys)
        return c->find_keys(argv, argc, positions, max);
    struct told to = {.positions = positions, .max = max};
    return walk(c, argv, argc, &to);
}

int commands_key_uses(const struct command *c, const struct arg *argv, int argc,
                      struct key_use *uses, int max)
{
    struct told to = {.uses = uses, .max = max};
    if (!c->find_keys)
        return walk(c, argv, argc, &to);
    // Positions come first into the room of the uses, then each makes place for its own, from the
    // last on. The first key is that of the first specification, others are of the last one.
    int *positions = (int *)uses;
    int n = c->find_keys(argv, argc, positions, max);
    for (int i = n < max ? n : max; i-- > 0;)
        uses[i] = (struct key_use){positions[i],
                                   c->keys[i ? c->n_keys - 1 : 0].flags & ~(uint32_t)KS_INCOMPLETE};
    return n;
}
