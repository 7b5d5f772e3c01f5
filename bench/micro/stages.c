#include "bench/micro/stages.h"

#include <assert.h>
#include <stdio.h>

unsigned stages_all(struct stage *stages)
{
    static const struct stage_kind *const tables[] = {parse_kinds, wire_kinds, table_kinds,
                                                      request_kinds, value_kinds};
    unsigned n = 0;
    for (unsigned i = 0; i < sizeof(tables) / sizeof(*tables); i++)
        for (const struct stage_kind *kind = tables[i]; kind->name; kind++) {
            const unsigned *size = kind->sizes;
            do {
                assert(n < STAGES_ALL_MAX);
                struct stage *s = &stages[n++];
                *s = (struct stage){.kind = kind, .size = *size};
                if (*size)
                    snprintf(s->name, sizeof(s->name), "%s/%u", kind->name, *size);
                else
                    snprintf(s->name, sizeof(s->name), "%s", kind->name);
            } while (*size && *++size);
        }
    return n;
}
