// DEBUG: what test suites and failure drills use. It works on all cores: a part answers for the
// core that has the key, freezes its core, or switches something there.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/commands/families.h"
#include "dataplane/commands/server.h"

#define NUMBER_TEXT_MAX 63
#define US_PER_S 1e6
// A freeze that nobody could want: longer ones are cut to it.
#define SLEEP_MAX_S 3600.0

enum debug_verb {
    DEBUG_SLEEP,
    DEBUG_OBJECT,
    DEBUG_ACTIVE_EXPIRE,
    DEBUG_ERROR,
    DEBUG_PROTOCOL,
    DEBUG_HELP,
    DEBUG_UNKNOWN
};

static enum debug_verb debug_verb(const struct request *r)
{
    static const struct {
        const char *name;
        int argc;
    } verbs[] = {
        [DEBUG_SLEEP] = {"sleep", 3},
        [DEBUG_OBJECT] = {"object", 3},
        [DEBUG_ACTIVE_EXPIRE] = {"set-active-expire", 3},
        [DEBUG_ERROR] = {"error", 3},
        [DEBUG_PROTOCOL] = {"protocol", 3},
        [DEBUG_HELP] = {"help", 2},
    };
    for (int i = 0; i < DEBUG_UNKNOWN; i++)
        if (r->argc == verbs[i].argc && request_is(r, 1, verbs[i].name))
            return (enum debug_verb)i;
    return DEBUG_UNKNOWN;
}

// As C's strtod: what starts no number is 0.
static double number(const struct arg *a)
{
    char text[NUMBER_TEXT_MAX + 1];
    size_t n = a->len < NUMBER_TEXT_MAX ? a->len : NUMBER_TEXT_MAX;
    memcpy(text, a->ptr, n);
    text[n] = '\0';
    return strtod(text, NULL);
}

static void reply_help(struct request *r)
{
    static const char *const lines[] = {
        "ERROR <text>",
        "    Answers with this error.",
        "OBJECT <key>",
        "    How a value is kept.",
        "PROTOCOL "
        "(STRING|INTEGER|DOUBLE|BIGNUM|NULL|ARRAY|SET|MAP|ATTRIB|PUSH|VERBATIM|TRUE|FALSE)",
        "    A reply of that type, to test clients.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    Whether keys expire that nobody asks for.",
        "SLEEP <seconds>",
        "    Freezes every core for so long.",
        NULL,
    };
    request_help(r, "DEBUG", lines);
}

// --- PROTOCOL ----------------------------------------------------------------------------------

static void reply_attribute(struct out *o, int resp)
{
    if (resp == 3) {
        out_write(o, "|1\r\n", 4);
        reply_bulk_string(o, "key-popularity");
        reply_array(o, 2);
        reply_bulk_string(o, "key:123");
        reply_integer(o, 90);
    }
    // An attribute is no reply: one follows.
    reply_bulk_string(o, "Some real reply following the attribute");
}

static void reply_of_type(struct request *r)
{
    static const char text[] = "This is a verbatim\nstring";
    static const char big[] = "1234567999999999999999999999999999999";
    int resp = r->session->resp;
    struct out *o = r->out;
    if (request_is(r, 2, "string")) {
        reply_bulk_string(o, "Hello World");
    } else if (request_is(r, 2, "integer")) {
        reply_integer(o, 12345);
    } else if (request_is(r, 2, "double")) {
        reply_double(o, resp, 3.141);
    } else if (request_is(r, 2, "null")) {
        reply_null(o, resp);
    } else if (request_is(r, 2, "array") || request_is(r, 2, "set")) {
        if (request_is(r, 2, "set"))
            reply_set(o, resp, 3);
        else
            reply_array(o, 3);
        for (int i = 0; i < 3; i++)
            reply_integer(o, i);
    } else if (request_is(r, 2, "map")) {
        reply_map(o, resp, 3);
        for (int i = 0; i < 3; i++) {
            reply_integer(o, i);
            reply_bool(o, resp, i == 1);
        }
    } else if (request_is(r, 2, "attrib")) {
        reply_attribute(o, resp);
    } else if (request_is(r, 2, "push")) {
        if (resp == 2) {
            request_error(r, "ERR RESP2 is not supported by this command");
            return;
        }
        reply_push(o, resp, 2);
        reply_bulk_string(o, "server-cpu-usage");
        reply_integer(o, 42);
        reply_bulk_string(o, "Some real reply following the push reply");
    } else if (request_is(r, 2, "verbatim")) {
        reply_verbatim(o, resp, "txt", text, sizeof(text) - 1);
    } else if (request_is(r, 2, "true") || request_is(r, 2, "false")) {
        reply_bool(o, resp, request_is(r, 2, "true"));
    } else if (request_is(r, 2, "bignum")) {
        if (resp == 3)
            text_add(o, "(%s\r\n", big);
        else
            reply_bulk_string(o, big);
    } else {
        request_error(r, "ERR Wrong protocol type name. Please use one of the following: "
                         "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|"
                         "true|false");
    }
}

// --- OBJECT ------------------------------------------------------------------------------------

// Bytes of a string in an RDB file, uncompressed: its length or integer tag, and what follows.
static size_t serialized_length(const struct entry *e)
{
    char scratch[24];
    int64_t value;
    struct string_view s = entry_string(e, scratch);
    if (entry_encoding(e) == ENC_INT && entry_integer(e, &value)) {
        if (value >= INT8_MIN && value <= INT8_MAX)
            return 2;
        if (value >= INT16_MIN && value <= INT16_MAX)
            return 3;
        if (value >= INT32_MIN && value <= INT32_MAX)
            return 5;
    }
    return s.len + (s.len < 64 ? 1 : s.len < 16384 ? 2 : 5);
}

// Only the core that the key belongs to answers.
static void object_part(struct request *r)
{
    struct key key = request_key(r, 2);
    if (keyspace_core(store_keyspace(r->store), key.slot) != r->core_index)
        return;
    const struct entry *e =
        store_find(r->store, r->session->db, &key, LOOKUP_NO_TOUCH | LOOKUP_NO_STATS);
    if (!e) {
        reply_error(r->out, ERR_NO_KEY);
        return;
    }
    uint64_t idle_s = entry_idle_ms(r->store, e) / 1000;
    char text[256];
    snprintf(text, sizeof(text),
             "Value at:%p refcount:1 encoding:%s serializedlength:%zu lru:%" PRIu64
             " lru_seconds_idle:%" PRIu64,
             (const void *)e, encoding_name(entry_encoding(e)),
             entry_type(e) == OBJ_STRING ? serialized_length(e) : 0,
             (r->now_ms / 1000 - idle_s) & 0xffffff, idle_s);
    reply_status(r->out, text);
}

// --- the command -------------------------------------------------------------------------------

// Answers what needs no other core.
bool debug_start(struct request *r)
{
    if (!r->services->protected_allowed(r->core, "enable-debug-command", r->client)) {
        request_error(r, "ERR DEBUG command not allowed. If the enable-debug-command option is "
                         "set to \"local\", you can run it from a local connection, otherwise "
                         "you need to set this option in the configuration file, and then "
                         "restart the server.");
        return false;
    }
    switch (debug_verb(r)) {
    case DEBUG_SLEEP:
    case DEBUG_OBJECT:
    case DEBUG_ACTIVE_EXPIRE:
        return true;
    case DEBUG_ERROR:
        request_errorf(r, "%.*s", (int)r->argv[2].len, (const char *)r->argv[2].ptr);
        return false;
    case DEBUG_PROTOCOL:
        reply_of_type(r);
        return false;
    case DEBUG_HELP:
        reply_help(r);
        return false;
    case DEBUG_UNKNOWN:
        break;
    }
    request_errorf(r,
                   "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try DEBUG "
                   "HELP.",
                   (int)r->argv[1].len, (const char *)r->argv[1].ptr);
    return false;
}

void debug_part(struct request *r)
{
    switch (debug_verb(r)) {
    case DEBUG_SLEEP: {
        double s = number(&r->argv[2]);
        if (s > 0)
            r->services->freeze(r->core,
                                (uint64_t)((s < SLEEP_MAX_S ? s : SLEEP_MAX_S) * US_PER_S));
        break;
    }
    case DEBUG_OBJECT:
        object_part(r);
        break;
    case DEBUG_ACTIVE_EXPIRE:
        store_active_expire(r->store, number(&r->argv[2]) != 0);
        break;
    default:
        break;
    }
}

void debug_command(struct request *r)
{
    if (debug_verb(r) != DEBUG_OBJECT) {
        reply_status(r->out, "OK");
        return;
    }
    for (unsigned i = 0; i < r->n_parts; i++)
        if (r->parts[i].len) {
            if (r->parts[i].ptr[0] == '-')
                request_error(r, ERR_NO_KEY);
            else
                out_write(r->out, r->parts[i].ptr, r->parts[i].len);
            return;
        }
    request_error(r, ERR_OOM); // the core that has the key could not write its part
}
