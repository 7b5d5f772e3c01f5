// What users may run. See permission.h.
#include "dataplane/commands/permission.h"

#include <assert.h>
#include <mimalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dataplane/commands/server.h"

// Keys and channels of one command that need no memory of their own.
#define USES_FEW 32

// --- the table -----------------------------------------------------------------------------------

// Commands whose arguments name channels.
enum channels { CHANNELS_NONE, CHANNELS_FIRST, CHANNELS_ALL, CHANNELS_PATTERNS };
static const struct {
    const char *name;
    enum channels channels;
} with_channels[] = {
    {"publish", CHANNELS_FIRST},  {"spublish", CHANNELS_FIRST},      {"subscribe", CHANNELS_ALL},
    {"ssubscribe", CHANNELS_ALL}, {"psubscribe", CHANNELS_PATTERNS},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct access_command rows[ACCESS_COMMANDS_MAX];
static uint8_t channels_of[ACCESS_COMMANDS_MAX]; // enum channels
static char names[ACCESS_COMMANDS_MAX * 32];
static struct access_table table;
static uint16_t by_name[ACCESS_COMMANDS_MAX]; // numbers in the order of the names

static int compare_rows(const void *a, const void *b)
{
    return strcmp(rows[*(const uint16_t *)a].name, rows[*(const uint16_t *)b].name);
}

// By the names of the table, whatever names clients call the commands by (rename-command).
static int find(const char *name, size_t len)
{
    unsigned low = 0, high = table.n_commands;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        const char *other = rows[by_name[middle]].name;
        int order = strncasecmp(other, name, len);
        if (!order && !other[len])
            return by_name[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

void permission_init(void)
{
    unsigned n = commands_count();
    char *to = names;
    assert(n <= ACCESS_COMMANDS_MAX);
    for (unsigned i = 0; i < n; i++) {
        const struct command *c = commands_by_id(i);
        rows[i] = (struct access_command){
            .name = to, .categories = c->categories, .parent = c->parent ? c->parent->id : c->id};
        size_t room = sizeof(names) - (size_t)(to - names);
        int len = snprintf(to, room, "%s%s%s", c->parent ? c->parent->name : "",
                           c->parent ? "|" : "", c->name);
        assert(len > 0 && (size_t)len < room);
        to += len + 1;
        rows[rows[i].parent].n_subcommands += rows[i].parent != i;
        by_name[i] = (uint16_t)i;
    }
    qsort(by_name, n, sizeof(by_name[0]), compare_rows);
    table = (struct access_table){.n_commands = n, .commands = rows, .find = find};
    table.n_categories = introspection_categories(&table.categories);
    for (size_t i = 0; i < COUNT(with_channels); i++) {
        int id = find(with_channels[i].name, strlen(with_channels[i].name));
        if (id >= 0)
            channels_of[id] = (uint8_t)with_channels[i].channels;
    }
}

const struct access_table *permission_table(void)
{
    return &table;
}

// --- what a command touches ----------------------------------------------------------------------

// Either fits into `few`, or is on the heap.
struct attempt {
    struct access_attempt attempt;
    struct access_use few[USES_FEW], *many;
};

static unsigned use_flags(uint32_t flags)
{
    return (flags & KS_ACCESS ? ACCESS_READ : 0) |
           (flags & (KS_INSERT | KS_DELETE | KS_UPDATE) ? ACCESS_WRITE : 0);
}

static bool has_keys(const struct command *c)
{
    for (unsigned i = 0; i < c->n_keys; i++)
        if (!(c->keys[i].flags & KS_NOT_KEY))
            return true;
    return false;
}

// Arguments that make no sense name no keys: the command refuses them itself.
static void add_keys(struct access_use *uses, unsigned *n, const struct command *command,
                     const struct arg *argv, int argc)
{
    // Each use is longer than what is told of its key, which stands at its beginning until then.
    static_assert(sizeof(struct access_use) >= sizeof(struct key_use), "room for both");
    struct key_use *keys = (struct key_use *)uses;
    int found = commands_key_uses(command, argv, argc, keys, argc);
    for (int i = found < argc ? found : argc; i-- > 0;) {
        struct key_use key = keys[i];
        uses[i] = (struct access_use){.ptr = argv[key.at].ptr,
                                      .len = argv[key.at].len,
                                      .at = key.at,
                                      .flags = use_flags(key.flags)};
    }
    if (found > 0)
        *n += (unsigned)(found < argc ? found : argc);
}

static void add_channels(struct access_use *uses, unsigned *n, enum channels channels,
                         const struct arg *argv, int argc)
{
    int end = channels == CHANNELS_FIRST && argc > 2 ? 2 : argc;
    unsigned flags = ACCESS_CHANNEL | (channels == CHANNELS_PATTERNS ? ACCESS_PATTERN : 0);
    for (int i = 1; i < end; i++)
        uses[(*n)++] =
            (struct access_use){.ptr = argv[i].ptr, .len = argv[i].len, .at = i, .flags = flags};
}

// False: memory is short.
static bool begin(struct attempt *a, const struct command *command, const struct arg *argv,
                  int argc)
{
    int first = command->parent ? 2 : 1;
    a->attempt = (struct access_attempt){
        .command = command->id,
        .for_all = command->flags & CMD_NO_AUTH,
        .first = argc > first ? argv[first].ptr : NULL,
        .first_len = argc > first ? argv[first].len : 0,
    };
    a->many = NULL;
    enum channels channels = (enum channels)channels_of[command->id];
    bool keys = has_keys(command);
    if (!keys && !channels)
        return true;
    struct access_use *uses = a->few;
    if (argc > USES_FEW && !(uses = a->many = mi_mallocn((size_t)argc, sizeof(*uses))))
        return false;
    if (keys)
        add_keys(uses, &a->attempt.n_uses, command, argv, argc);
    else
        add_channels(uses, &a->attempt.n_uses, channels, argv, argc);
    a->attempt.uses = uses;
    return true;
}

// --- questions -----------------------------------------------------------------------------------

enum access_denial permission_check(const struct access_user *user, const struct command *command,
                                    const struct arg *argv, int argc, int *at)
{
    struct attempt a;
    *at = 0;
    if (!user || access_user_unlimited(user))
        return ACCESS_GRANTED;
    if (!begin(&a, command, argv, argc))
        return ACCESS_DENIED_COMMAND;
    enum access_denial denial = access_check(user, &a.attempt, at);
    mi_free(a.many);
    return denial;
}

bool permission_reads_all_keys(const struct access_user *user, const struct command *command,
                               const struct arg *argv, int argc)
{
    struct attempt a;
    if (!user || access_user_unlimited(user))
        return true;
    if (!begin(&a, command, argv, argc))
        return false;
    bool all = access_reaches_all_keys(user, &a.attempt, ACCESS_READ);
    mi_free(a.many);
    return all;
}

// --- what is told --------------------------------------------------------------------------------

void permission_error(enum access_denial denial, const struct command *command, char *text,
                      size_t size)
{
    switch (denial) {
    case ACCESS_GRANTED:
    case ACCESS_DENIED_AUTH:
        break;
    case ACCESS_DENIED_COMMAND:
        snprintf(text, size, "NOPERM this user has no permissions to run the '%s' command",
                 rows[command->id].name);
        return;
    case ACCESS_DENIED_KEY:
        snprintf(text, size,
                 "NOPERM this user has no permissions to access one of the keys used "
                 "as arguments");
        return;
    case ACCESS_DENIED_CHANNEL:
        snprintf(text, size,
                 "NOPERM this user has no permissions to access one of the channels "
                 "used as arguments");
        return;
    }
    assert(!"nothing was denied");
}

const char *permission_error_of_call(enum access_denial denial)
{
    switch (denial) {
    case ACCESS_DENIED_KEY:
        return "The user executing the script can't access at least one of the keys mentioned "
               "in the command arguments";
    case ACCESS_DENIED_CHANNEL:
        return "The user executing the script can't publish to the channel mentioned in the "
               "command";
    default:
        return "The user executing the script can't run this command or subcommand";
    }
}

const char *permission_name(const struct command *command)
{
    return rows[command->id].name;
}
