#include "bench/presets.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name, *line;
} known[] = {
    {"set", "SET of a random key"},
    {"get", "GET of a random key"},
    {"mixed", "SET and GET by --ratio"},
    {"ping", "PING"},
};

static bool preset_named(const struct options *o, const char *name, struct preset *p)
{
    *p = (struct preset){.distribution = o->distribution, .data = o->data, .n = 1};
    unsigned i = 0;
    while (i < sizeof(known) / sizeof(*known) && strcasecmp(known[i].name, name) != 0)
        i++;
    if (i == sizeof(known) / sizeof(*known))
        return false;
    p->name = known[i].name;
    p->commands[0].weight = 1;
    p->commands[0].kind = i == 3 ? COMMAND_PING : i == 1 ? COMMAND_GET : COMMAND_SET;
    if (i == 2) {
        p->n = 2;
        p->commands[0].weight = o->set_weight;
        p->commands[1].kind = COMMAND_GET;
        p->commands[1].weight = o->get_weight;
    }
    return true;
}

unsigned presets_of(const struct options *o, struct preset *tests, char *error, size_t error_size)
{
    unsigned n = 0;
    for (unsigned i = 0; i < o->n_commands; i++) {
        struct preset *p = &tests[n++];
        *p = (struct preset){
            .name = o->commands[i].line, .n = 1, .distribution = o->distribution, .data = o->data};
        p->commands[0].kind = COMMAND_ANY;
        p->commands[0].line = o->commands[i].line;
        p->commands[0].weight = 1;
    }
    for (unsigned i = 0; !o->n_commands && i < o->n_tests; i++)
        if (!preset_named(o, o->tests[i], &tests[n++])) {
            snprintf(error, error_size, "--test %s: no such test; see --list", o->tests[i]);
            return 0;
        }
    return n;
}

bool presets_fill(const struct options *o, const struct preset *tests, unsigned done,
                  struct preset *fill)
{
    (void)tests;
    if (done > 0)
        return false;
    *fill = (struct preset){.name = "fill", .n = 1, .data = o->data, .fill = true};
    fill->commands[0].kind = COMMAND_SET;
    fill->commands[0].weight = 1;
    return true;
}

const char *presets_describe(unsigned index, const char **line)
{
    if (index >= sizeof(known) / sizeof(*known))
        return NULL;
    *line = known[index].line;
    return known[index].name;
}
