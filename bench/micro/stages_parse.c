// Stages that touch no key: the parser, the command table, slot and hash, replies.
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>

#include "bench/micro/stages.h"
#include "dataplane/resp/reply.h"

// Commands of a round, in frames of so many; each frame lies in memory of its own.
#define COMMANDS 1024
#define FRAME_ROOM 8192
#define ARGS_MAX 3

struct parse_state {
    struct rig *rig;
    unsigned size;
    uint8_t *frame[COMMANDS];
    size_t frame_len[COMMANDS];
    struct arg args[COMMANDS][ARGS_MAX];
    int argc[COMMANDS];
    unsigned parsed;
    const struct command *command[COMMANDS];
    struct key key[COMMANDS];
    uint8_t *out; // replies
    struct out replies;
};

static bool parse_open(struct bench *b, const struct stage *s)
{
    struct parse_state *p = b->state = mi_zalloc(sizeof(*p));
    if (!p || !(p->out = mi_malloc(COMMANDS * (RIG_VALUE_LEN + 8))))
        return false;
    p->rig = b->rig;
    p->size = s->size ? s->size : 16;
    for (unsigned i = 0; i < COMMANDS / p->size; i++) {
        // Of a frame's length, so that frames lie as near to each other as a port's buffers do.
        uint8_t text[FRAME_ROOM];
        for (unsigned k = 0; k < p->size; k++)
            p->frame_len[i] +=
                rig_compose(b->rig, text + p->frame_len[i], s->kind->command, rig_random(b->rig));
        if (!(p->frame[i] = mi_malloc(p->frame_len[i])))
            return false;
        memcpy(p->frame[i], text, p->frame_len[i]);
    }
    return true;
}

static void parse_close(struct bench *b)
{
    struct parse_state *p = b->state;
    for (unsigned i = 0; p && i < COMMANDS; i++)
        mi_free(p->frame[i]);
    if (p)
        mi_free(p->out);
    mi_free(p);
}

static void section_parse(void *context)
{
    struct parse_state *p = context;
    const struct settings *settings = &p->rig->core->settings;
    const struct parser_limits limits = {
        .bulk_max = settings->bulk_max, .query_max = settings->query_max, .authenticated = true};
    struct parser parser;
    parser_init(&parser);
    p->parsed = 0;
    for (unsigned i = 0; i < COMMANDS / p->size; i++) {
        const uint8_t *data = p->frame[i];
        size_t left = p->frame_len[i];
        while (left) {
            struct arg *args = p->args[p->parsed];
            int *argc = &p->argc[p->parsed];
            size_t used = parser_quick(&parser, &limits, data, left, args, ARGS_MAX, argc);
            if (!used) { // the way of those that are cut, or long
                if (parser_run(&parser, &limits, data, left, &used) != PARSER_COMMAND ||
                    parser.argc > ARGS_MAX)
                    break;
                *argc = parser.argc;
                parser_take(&parser, data, args);
            }
            p->parsed++;
            data += used;
            left -= used;
        }
    }
    parser_clear(&parser);
}

static bool right(struct parse_state *p, struct measure *m, bool good, const char *what)
{
    m->ops += COMMANDS;
    if (!good)
        snprintf(p->rig->error, sizeof(p->rig->error), "%s", what);
    return good;
}

static bool all_parsed(const struct parse_state *p)
{
    bool good = p->parsed == COMMANDS;
    for (unsigned i = 0; good && i < COMMANDS; i++)
        good = p->argc[i] >= 2 && p->args[i][1].len == RIG_KEY_LEN &&
               memcmp(p->args[i][1].ptr, "key:", 4) == 0;
    return good;
}

static bool parse_round(struct bench *b, const struct stage *s, struct measure *m)
{
    (void)s;
    measure_section(m, section_parse, b->state);
    return right(b->state, m, all_parsed(b->state), "the parser found other commands");
}

static void section_command(void *context)
{
    struct parse_state *p = context;
    for (unsigned i = 0; i < COMMANDS; i++) {
        const struct command *c = p->command[i] = commands_find(p->args[i], p->argc[i]);
        if (c && commands_single_key(c, p->argc[i]) != 1)
            p->command[i] = NULL;
    }
}

static bool command_round(struct bench *b, const struct stage *s, struct measure *m)
{
    (void)s;
    struct parse_state *p = b->state;
    section_parse(p);
    measure_section(m, section_command, p);
    bool good = true;
    for (unsigned i = 0; i < COMMANDS; i++)
        good = good && p->command[i] && strcmp(p->command[i]->name, "get") == 0;
    return right(p, m, good, "the table gave another command than GET");
}

static void section_key(void *context)
{
    struct parse_state *p = context;
    for (unsigned i = 0; i < COMMANDS; i++)
        p->key[i] = keyspace_key(p->rig->server.keyspace, p->args[i][1].ptr, p->args[i][1].len);
}

static bool key_round(struct bench *b, const struct stage *s, struct measure *m)
{
    (void)s;
    struct parse_state *p = b->state;
    section_parse(p);
    measure_section(m, section_key, p);
    bool good = true;
    for (unsigned i = 0; i < COMMANDS; i++)
        good = good && p->key[i].slot == slot_of_key(p->args[i][1].ptr, p->args[i][1].len);
    return right(p, m, good, "a key has another slot");
}

// --- replies, into plain memory

static void no_room(struct out *o, size_t need)
{
    (void)need;
    o->failed = true;
}

static const struct out_ops reply_ops = {.grow = no_room};

static void section_bulk(void *context)
{
    struct parse_state *p = context;
    for (unsigned i = 0; i < COMMANDS; i++)
        reply_bulk(&p->replies, p->frame[0], RIG_DATA_LEN);
}

static void section_status(void *context)
{
    struct parse_state *p = context;
    for (unsigned i = 0; i < COMMANDS; i++)
        reply_status(&p->replies, "OK");
}

static void section_integer(void *context)
{
    struct parse_state *p = context;
    for (unsigned i = 0; i < COMMANDS; i++)
        reply_integer(&p->replies, (int64_t)i * 97);
}

static bool reply_round(struct bench *b, const struct stage *s, struct measure *m)
{
    struct parse_state *p = b->state;
    p->replies = (struct out){
        .pos = p->out, .end = p->out + COMMANDS * (RIG_VALUE_LEN + 8), .ops = &reply_ops};
    char kind = s->kind->reply;
    measure_section(m,
                    kind == '$'   ? section_bulk
                    : kind == '+' ? section_status
                                  : section_integer,
                    p);
    unsigned n = 0;
    const uint8_t *at = p->out;
    for (size_t len; at < p->replies.pos && *at == (uint8_t)kind &&
                     (len = rig_reply_len(at, (size_t)(p->replies.pos - at)));
         at += len)
        n++;
    b->rig->replies += n;
    return right(p, m, n == COMMANDS && !p->replies.failed, "replies are missing");
}

#define PARSE(NAME, UNIT, HELP, ROUND, COMMAND, KIND)                                   \
    .name = NAME, .unit = UNIT, .help = HELP, .open = parse_open, .close = parse_close, \
    .round = ROUND, .command = COMMAND, .reply = KIND

const struct stage_kind parse_kinds[] = {
    {PARSE("parse-get", "command", "the RESP parser on frames of N GETs", parse_round, "GET @key",
           0),
     .sizes = {1, 16, 64}},
    {PARSE("parse-set", "command", "the RESP parser on frames of N SETs", parse_round,
           "SET @key @data", 0),
     .sizes = {1, 16, 64}},
    {PARSE("command", "command", "the look-up in the command table, and where its key is",
           command_round, "GET @key", 0)},
    {PARSE("slot-hash", "key", "CRC16 slot and keyed hash of a key of 16 bytes", key_round,
           "GET @key", 0)},
    {PARSE("reply-bulk", "reply", "a bulk string of 64 bytes", reply_round, "GET @key", '$')},
    {PARSE("reply-status", "reply", "+OK", reply_round, "GET @key", '+')},
    {PARSE("reply-integer", "reply", "an integer", reply_round, "GET @key", ':')},
    {0},
};
