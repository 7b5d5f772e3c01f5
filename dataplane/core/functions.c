// Libraries of functions, as commands reach them: those of the process, compiled by this core.
#include "dataplane/script/functions.h"

#include "common/block.h"
#include "dataplane/core/core.h"
#include "dataplane/core/script.h"

static bool load(struct core *c, const struct arg *code, bool replace, struct out *name,
                 char *error)
{
    struct function_library *library =
        script_functions_load(scripts_engine(c), c->server->functions, code, replace, error);
    if (library)
        reply_bulk(name, library->name, library->name_len);
    function_library_release(library);
    return library;
}

static bool delete (struct core *c, const struct arg *name, char *error)
{
    return script_functions_delete(c->server->functions, name, error);
}

static bool restore(struct core *c, const struct arg *codes, unsigned n,
                    enum function_policy policy, char *error)
{
    return script_functions_restore(scripts_engine(c), c->server->functions, codes, n, policy,
                                    error);
}

static void flush(struct core *c)
{
    script_functions_flush(c->server->functions);
}

static struct function_facts facts(const struct function_shown *shown, unsigned i)
{
    const struct function_library *library = shown->library;
    const struct function *f = &library->functions[i];
    return (struct function_facts){.name = f->name,
                                   .name_len = f->name_len,
                                   .description = f->description,
                                   .description_len = f->description_len,
                                   .flags = f->flags};
}

static void each(struct core *c, void (*call)(void *context, const struct function_shown *library),
                 void *context)
{
    struct function_set *set = script_functions_get(c->server->functions);
    for (unsigned i = 0; i < set->n_libraries; i++) {
        const struct function_library *l = set->libraries[i];
        struct function_shown shown = {.name = l->name,
                                       .name_len = l->name_len,
                                       .code = (const char *)l->code->data,
                                       .code_len = l->code->len,
                                       .n_functions = l->n_functions,
                                       .function = facts,
                                       .library = l};
        call(context, &shown);
    }
    function_set_release(set);
}

void functions_services(struct services *services)
{
    services->function_load = load;
    services->function_delete = delete;
    services->function_restore = restore;
    services->function_flush = flush;
    services->function_each = each;
}
