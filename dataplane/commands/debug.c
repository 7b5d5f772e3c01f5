// DEBUG: what test suites and failure drills use. It works on all cores: a part answers for the
// core that has the key, freezes its core, or switches something there.
#include <stdlib.h>
#include <string.h>

#include "common/glob.h"
#include "common/log.h"
#include "dataplane/commands/debug.h"
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
    DEBUG_DIGEST,
    DEBUG_DIGEST_VALUE,
    DEBUG_LISTPACK,
    DEBUG_QUICKLIST,
    DEBUG_PACKED_THRESHOLD,
    DEBUG_HTSTATS,
    DEBUG_POPULATE,
    DEBUG_STRINGMATCH,
    DEBUG_LOG,
    DEBUG_SEGFAULT,
    DEBUG_PANIC,
    DEBUG_ASSERT,
    DEBUG_HELP,
    DEBUG_UNKNOWN
};

static const struct {
    const char *name;
    int least, most; // arguments, those of DEBUG itself included; most 0: any number
} verbs[] = {
    [DEBUG_SLEEP] = {"sleep", 3, 3},
    [DEBUG_OBJECT] = {"object", 3, 4}, // `fast` leaves out nothing here
    [DEBUG_ACTIVE_EXPIRE] = {"set-active-expire", 3, 3},
    [DEBUG_ERROR] = {"error", 3, 3},
    [DEBUG_PROTOCOL] = {"protocol", 3, 3},
    [DEBUG_DIGEST] = {"digest", 2, 2},
    [DEBUG_DIGEST_VALUE] = {"digest-value", 2, 0},
    [DEBUG_LISTPACK] = {"listpack", 3, 3},
    [DEBUG_QUICKLIST] = {"quicklist", 3, 4},
    [DEBUG_PACKED_THRESHOLD] = {"quicklist-packed-threshold", 3, 3},
    [DEBUG_HTSTATS] = {"htstats", 3, 4}, // `full` adds nothing here
    [DEBUG_POPULATE] = {"populate", 3, 5},
    [DEBUG_STRINGMATCH] = {"stringmatch-len", 4, 4},
    [DEBUG_LOG] = {"log", 3, 3},
    [DEBUG_SEGFAULT] = {"segfault", 2, 2},
    [DEBUG_PANIC] = {"panic", 2, 2},
    [DEBUG_ASSERT] = {"assert", 2, 2},
    [DEBUG_HELP] = {"help", 2, 2},
};

// What redis-server has and Pollux has not, and why.
static const struct {
    const char *name, *why;
} refused[] = {
    {"aof-flush-sleep", "there is no append-only file"},
    {"change-repl-id", "there is no replication"},
    {"client-eviction", "CLIENT LIST shows what clients take"},
    {"clusterlink", "there is no cluster bus"},
    {"config-rewrite-force-all", "CONFIG REWRITE writes what differs from the defaults"},
    {"crash-and-recover", "the supervisor starts it again after DEBUG SEGFAULT"},
    {"drop-cluster-packet-filter", "there is no cluster bus"},
    {"htstats-key", "OBJECT ENCODING and MEMORY USAGE tell of one key"},
    {"jmap", "values are no objects of a virtual machine"},
    {"leak", "memory is not leaked on purpose"},
    {"loadaof", "there is no append-only file"},
    {"mallctl", "the allocator is another one; MEMORY MALLOC-STATS shows it"},
    {"mallctl-str", "the allocator is another one; MEMORY MALLOC-STATS shows it"},
    {"oom", "memory that runs short is an error of the command; see DEBUG PANIC"},
    {"pause-cron", "nothing waits for a cron"},
    {"reload", "there are no files of the data set"},
    {"replicate", "there is no replication"},
    {"replybuffer", "replies are written to the output of a connection directly"},
    {"restart", "the supervisor starts it again when it ends"},
    {"sdslen", "strings are kept in another form; DEBUG OBJECT tells their length"},
    {"set-disable-deny-scripts", "commands that scripts may not use are refused to them always"},
    {"set-skip-checksum-validation", "checksums are always looked at"},
    {"stringmatch-test", "DEBUG STRINGMATCH-LEN matches what you give it"},
    {"structsize", "its structures are others"},
    {"ziplist", "there are none; see DEBUG LISTPACK"},
};

static enum debug_verb debug_verb(const struct request *r)
{
    for (int i = 0; i < DEBUG_UNKNOWN; i++)
        if (r->argc >= verbs[i].least && (!verbs[i].most || r->argc <= verbs[i].most) &&
            request_is(r, 1, verbs[i].name))
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
        "ASSERT",
        "    Crashes by an assertion that fails.",
        "DIGEST",
        "    A digest of all keys, the same as redis-server's.",
        "DIGEST-VALUE <key> [<key> ...]",
        "    Digests of values.",
        "ERROR <text>",
        "    Answers with this error.",
        "HTSTATS <dbid>",
        "    How many keys a database has, and how many of them expire.",
        "LISTPACK <key>",
        "    The elements of a value that is a listpack, as they lie in it.",
        "LOG <message>",
        "    Writes the message to the log.",
        "OBJECT <key>",
        "    How a value is kept.",
        "PANIC",
        "    Crashes as from a panic.",
        "POPULATE <count> [<prefix>] [<size>]",
        "    Makes string keys prefix:0, prefix:1 and so on, of that size.",
        "PROTOCOL "
        "(STRING|INTEGER|DOUBLE|BIGNUM|NULL|ARRAY|SET|MAP|ATTRIB|PUSH|VERBATIM|TRUE|FALSE)",
        "    A reply of that type, to test clients.",
        "QUICKLIST <key> [<0|1>]",
        "    The nodes of a list.",
        "QUICKLIST-PACKED-THRESHOLD <size>",
        "    List elements of that size get a node of their own from now on; 0: large ones only.",
        "SEGFAULT",
        "    Crashes by a write to memory that cannot be written.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    Whether keys expire that nobody asks for.",
        "SLEEP <seconds>",
        "    Freezes every core for so long.",
        "STRINGMATCH-LEN <pattern> <text>",
        "    Whether the text matches, as KEYS would have it.",
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
    case DEBUG_DIGEST:
    case DEBUG_DIGEST_VALUE:
    case DEBUG_LISTPACK:
    case DEBUG_QUICKLIST:
        return true;
    case DEBUG_HTSTATS:
        return debug_htstats_start(r);
    case DEBUG_POPULATE:
        return debug_populate_start(r);
    case DEBUG_PACKED_THRESHOLD:
        debug_packed_threshold(r);
        return false;
    case DEBUG_STRINGMATCH:
        reply_integer(r->out, glob_match((const char *)r->argv[2].ptr, r->argv[2].len,
                                         (const char *)r->argv[3].ptr, r->argv[3].len, false));
        return false;
    case DEBUG_LOG:
        log_warning("DEBUG LOG: %.*s", (int)r->argv[2].len, (const char *)r->argv[2].ptr);
        reply_status(r->out, "OK");
        return false;
    case DEBUG_SEGFAULT:
        r->services->crash(r->core, CRASH_SEGFAULT);
        return false;
    case DEBUG_PANIC:
        r->services->crash(r->core, CRASH_PANIC);
        return false;
    case DEBUG_ASSERT:
        r->services->crash(r->core, CRASH_ASSERT);
        return false;
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
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
        if (request_is(r, 1, refused[i].name)) {
            request_errorf(r, "ERR DEBUG %s is not in Pollux: %s", refused[i].name, refused[i].why);
            return false;
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
    case DEBUG_ACTIVE_EXPIRE:
        store_active_expire(r->store, number(&r->argv[2]) != 0);
        break;
    case DEBUG_OBJECT:
        debug_key_part(r, debug_tell_object);
        break;
    case DEBUG_LISTPACK:
        debug_key_part(r, debug_tell_listpack);
        break;
    case DEBUG_QUICKLIST:
        debug_key_part(r, debug_tell_quicklist);
        break;
    case DEBUG_DIGEST:
        debug_digest_part(r);
        break;
    case DEBUG_DIGEST_VALUE:
        debug_digest_value_part(r);
        break;
    case DEBUG_HTSTATS:
        debug_htstats_part(r);
        break;
    case DEBUG_POPULATE:
        debug_populate_part(r);
        break;
    default:
        break;
    }
}

void debug_command(struct request *r)
{
    switch (debug_verb(r)) {
    case DEBUG_OBJECT:
    case DEBUG_LISTPACK:
    case DEBUG_QUICKLIST:
        debug_key_reply(r);
        break;
    case DEBUG_DIGEST:
        debug_digest_reply(r);
        break;
    case DEBUG_DIGEST_VALUE:
        debug_digest_value_reply(r);
        break;
    case DEBUG_HTSTATS:
        debug_htstats_reply(r);
        break;
    case DEBUG_POPULATE:
        debug_populate_reply(r);
        break;
    default:
        reply_status(r->out, "OK");
        break;
    }
}
