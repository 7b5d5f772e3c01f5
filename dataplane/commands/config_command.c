// CONFIG. The configuration itself is behind the services; here are its words.
#include <mimalloc.h>
#include <string.h>
#include <strings.h>

#include "common/outbuf.h"
#include "dataplane/commands/families.h"
#include "dataplane/commands/server.h"

#define CONFIG_ERROR_MAX 512

// --- GET ---------------------------------------------------------------------------------------

// What the patterns matched so far, each name once.
struct matches {
    struct outbuf text;
    char **names; // mimalloc, copies: a name lives no longer than the call that shows it
    size_t n, cap;
    bool failed;
};

static void add_match(void *context, const char *name, const char *value)
{
    struct matches *m = context;
    for (size_t i = 0; i < m->n; i++)
        if (!strcasecmp(m->names[i], name))
            return;
    if (m->n == m->cap) {
        size_t cap = m->cap ? 2 * m->cap : 64;
        char **grown = mi_reallocn(m->names, cap, sizeof(*grown));
        m->failed |= !grown;
        if (!grown)
            return;
        m->names = grown;
        m->cap = cap;
    }
    char *copy = mi_strdup(name);
    m->failed |= !copy;
    if (!copy)
        return;
    m->names[m->n++] = copy;
    reply_bulk_string(&m->text.out, name);
    reply_bulk_string(&m->text.out, value);
}

void config_get_command(struct request *r)
{
    struct matches m = {0};
    outbuf_init(&m.text);
    for (int i = 2; i < r->argc; i++)
        r->services->config_get(r->core, (const char *)r->argv[i].ptr, r->argv[i].len, add_match,
                                &m);
    if (m.failed) {
        request_error(r, ERR_OOM);
    } else {
        reply_map(r->out, r->session->resp, (int64_t)m.n);
        outbuf_move(&m.text, r->out);
    }
    outbuf_clear(&m.text);
    for (size_t i = 0; i < m.n; i++)
        mi_free(m.names[i]);
    mi_free(m.names);
}

// --- SET ---------------------------------------------------------------------------------------

// Names and values as text with an end; one allocation, freed through `names`.
struct pairs {
    const char **names, **values, **canonical;
    size_t *lens;
};

static char *copy_text(char *to, const struct arg *a)
{
    memcpy(to, a->ptr, a->len);
    to[a->len] = '\0';
    return to + a->len + 1;
}

static bool pairs_make(struct pairs *p, const struct request *r, unsigned n)
{
    size_t bytes = 0;
    for (int i = 2; i < r->argc; i++)
        bytes += r->argv[i].len + 1;
    char *memory = mi_malloc(n * (3 * sizeof(char *) + sizeof(size_t)) + bytes);
    if (!memory)
        return false;
    p->names = (const char **)memory;
    p->values = p->names + n;
    p->canonical = p->values + n;
    p->lens = (size_t *)(p->canonical + n);
    char *to = (char *)(p->lens + n);
    for (unsigned i = 0; i < n; i++) {
        p->names[i] = to;
        to = copy_text(to, &r->argv[2 + 2 * i]);
        p->values[i] = to;
        p->lens[i] = r->argv[3 + 2 * i].len;
        to = copy_text(to, &r->argv[3 + 2 * i]);
    }
    return true;
}

// Whether these options may be changed, from this connection, each once. Answers when not.
static bool check_names(struct request *r, const struct pairs *p, unsigned n)
{
    const char *wrong = NULL;
    for (unsigned i = 0; i < n; i++) {
        switch (r->services->config_access(r->core, p->names[i], &p->canonical[i])) {
        case CONFIG_ACCESS_UNKNOWN:
            request_errorf(r, "ERR Unknown option or number of arguments for CONFIG SET - '%s'",
                           p->names[i]);
            return false;
        case CONFIG_ACCESS_IMMUTABLE:
            wrong = "can't set immutable config";
            break;
        case CONFIG_ACCESS_PROTECTED:
            if (!r->services->protected_allowed(r->core, "enable-protected-configs", r->client))
                wrong = "can't set protected config";
            break;
        case CONFIG_ACCESS_FREE:
            break;
        }
        for (unsigned j = 0; !wrong && j < i; j++)
            if (!strcmp(p->canonical[i], p->canonical[j]))
                wrong = "duplicate parameter";
        if (wrong) {
            request_errorf(r, "ERR CONFIG SET failed (possibly related to argument '%s') - %s",
                           p->names[i], wrong);
            return false;
        }
    }
    return true;
}

// Certificates are read from files.
bool config_set_waits(const struct arg *argv, int argc)
{
    for (int i = 2; i < argc; i += 2)
        if (argv[i].len > 4 && !strncasecmp((const char *)argv[i].ptr, "tls-", 4))
            return true;
    return false;
}

void config_set_prepare(struct request *r)
{
    unsigned n = (unsigned)(r->argc - 2) / 2;
    struct pairs p;
    if (r->argc % 2 || !pairs_make(&p, r, n))
        return;
    r->services->config_prepare(r->core, n, p.names, p.values, p.lens);
    mi_free(p.names);
}

// Changes the configuration; the parts then make every core take it over.
bool config_set_start(struct request *r)
{
    if (r->argc % 2) {
        request_error(r, ERR_SYNTAX);
        return false;
    }
    unsigned n = (unsigned)(r->argc - 2) / 2;
    struct pairs p;
    if (!pairs_make(&p, r, n)) {
        request_error(r, ERR_OOM);
        return false;
    }
    char error[CONFIG_ERROR_MAX];
    bool done = false;
    if (!check_names(r, &p, n))
        done = false;
    else if (r->services->config_set(r->core, n, p.names, p.values, p.lens, error, sizeof(error)))
        request_errorf(r, "ERR %s", error);
    else
        done = true;
    mi_free(p.names);
    return done;
}

void config_set_part(struct request *r)
{
    r->services->config_adopt(r->core);
}

void config_set_command(struct request *r)
{
    reply_status(r->out, "OK");
}

// --- the others --------------------------------------------------------------------------------

void config_resetstat_part(struct request *r)
{
    r->services->config_reset_stat(r->core);
}

void config_resetstat_command(struct request *r)
{
    reply_status(r->out, "OK");
}

void config_rewrite_command(struct request *r)
{
    char error[CONFIG_ERROR_MAX];
    if (r->services->config_rewrite(r->core, error, sizeof(error)))
        request_errorf(r, "ERR %s", error);
    else
        reply_status(r->out, "OK");
}

void config_help_command(struct request *r)
{
    static const char *const lines[] = {
        "GET <pattern> [<pattern> ...]",
        "    Options whose names match, and their values.",
        "RESETSTAT",
        "    Puts the counters of INFO back to zero.",
        "REWRITE",
        "    Writes the options in force to the configuration file.",
        "SET <option> <value> [<option> <value> ...]",
        "    Changes options, all of them or none.",
        NULL,
    };
    request_help(r, "CONFIG", lines);
}
