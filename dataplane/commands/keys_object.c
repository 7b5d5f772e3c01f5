// OBJECT and MEMORY USAGE: what the store knows of a key beside its value.
#include <string.h>

#include "dataplane/commands/families.h"
#include "dataplane/commands/keys_commands.h"
#include "dataplane/commands/lookup.h"

// Redis shares the objects of small integers and reports their count of references as "many".
// Nothing is shared here, but clients and test suites look at the figure.
#define SHARED_INTEGERS 10000
#define SHARED_REFCOUNT INT32_MAX

// The entry of argument 2, left untouched; without one the answer is null.
static struct entry *find_object(struct request *r)
{
    struct key key = request_key(r, 2);
    struct entry *e =
        store_find(r->store, r->session->db, &key, LOOKUP_NO_TOUCH | LOOKUP_NO_NOTIFY);
    if (!e)
        reply_null(r->out, r->session->resp);
    return e;
}

void object_encoding_command(struct request *r)
{
    struct entry *e = find_object(r);
    if (e)
        reply_bulk_string(r->out, encoding_name(entry_encoding(e)));
}

void object_refcount_command(struct request *r)
{
    struct entry *e = find_object(r);
    if (!e)
        return;
    int64_t value;
    bool shared = entry_encoding(e) == ENC_INT && entry_integer(e, &value) && value >= 0 &&
                  value < SHARED_INTEGERS;
    reply_integer(r->out, shared ? SHARED_REFCOUNT : 1);
}

static void take_policy(void *context, const char *name, const char *value)
{
    (void)name;
    *(bool *)context = strstr(value, "lfu") != NULL;
}

// LRU and LFU share their bits, so only one of them can be told.
static bool policy_is_lfu(struct request *r)
{
    static const char option[] = "maxmemory-policy";
    bool lfu = false;
    r->services->config_get(r->core, option, sizeof(option) - 1, take_policy, &lfu);
    return lfu;
}

void object_freq_command(struct request *r)
{
    struct entry *e = find_object(r);
    if (!e)
        return;
    if (policy_is_lfu(r))
        reply_integer(r->out, entry_frequency(r->store, e));
    else
        request_error(r,
                      "ERR An LFU maxmemory policy is not selected, access frequency not tracked. "
                      "Please note that when switching between policies at runtime LRU and LFU "
                      "data will take some time to adjust.");
}

void object_idletime_command(struct request *r)
{
    struct entry *e = find_object(r);
    if (!e)
        return;
    if (policy_is_lfu(r))
        request_error(r,
                      "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note "
                      "that when switching between policies at runtime LRU and LFU data will take "
                      "some time to adjust.");
    else
        reply_integer(r->out, (int64_t)(entry_idle_ms(r->store, e) / 1000));
}

void object_help_command(struct request *r)
{
    static const char *const lines[] = {
        "ENCODING <key>",
        "    How the value of the key is kept in memory.",
        "FREQ <key>",
        "    How often the key is used, on a logarithmic scale (LFU policies only).",
        "IDLETIME <key>",
        "    Seconds since the key was last used (all but LFU policies).",
        "REFCOUNT <key>",
        "    How many hold the value of the key.",
        NULL,
    };
    request_help(r, "OBJECT", lines);
}

// SAMPLES is checked and otherwise unused: the store counts sizes exactly.
void memory_usage_command(struct request *r)
{
    for (int i = 3; i < r->argc; i += 2) {
        int64_t samples;
        if (!request_is(r, i, "samples") || i + 1 == r->argc) {
            request_error(r, ERR_SYNTAX);
            return;
        }
        if (!request_integer(r, i + 1, &samples))
            return;
        if (samples < 0) {
            request_error(r, ERR_SYNTAX);
            return;
        }
    }
    struct entry *e = find_object(r);
    if (e)
        reply_integer(r->out, (int64_t)entry_memory(e));
}
