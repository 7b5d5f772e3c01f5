// What people do with hiredis, against the server at HOST PORT: pipelines, transactions, scripts,
// channels, waiting commands, and being told of changes. Ends with 0 when every reply was right.
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIPELINED = 5000, PATIENCE_S = 30 };

static redisContext *open_connection(const char *host, int port)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    redisContext *c = redisConnectWithTimeout(host, port, patience);
    if (!c || c->err) {
        fprintf(stderr, "no connection: %s\n", c ? c->errstr : "out of memory");
        exit(1);
    }
    redisSetTimeout(c, patience);
    return c;
}

static void fail(const char *what, const redisReply *reply)
{
    fprintf(stderr, "%s: wrong reply of type %d: %s\n", what, reply ? reply->type : -1,
            reply && reply->str ? reply->str : "");
    exit(1);
}

static redisReply *take(redisContext *c, const char *what)
{
    void *reply = NULL;
    if (redisGetReply(c, &reply) != REDIS_OK) {
        fprintf(stderr, "%s: %s\n", what, c->errstr);
        exit(1);
    }
    return reply;
}

static void is_text(redisReply *reply, const char *what, const char *wanted)
{
    if (!reply || !reply->str || strcmp(reply->str, wanted) != 0)
        fail(what, reply);
    freeReplyObject(reply);
}

static void is_integer(redisReply *reply, const char *what, long long wanted)
{
    if (!reply || reply->type != REDIS_REPLY_INTEGER || reply->integer != wanted)
        fail(what, reply);
    freeReplyObject(reply);
}

// An array whose last elements are these texts.
static void ends_with(redisReply *reply, const char *what, const char *a, const char *b)
{
    if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements < 2)
        fail(what, reply);
    const redisReply *x = reply->element[reply->elements - 2],
                     *y = reply->element[reply->elements - 1];
    if (!x->str || strcmp(x->str, a) != 0 || !y->str || strcmp(y->str, b) != 0)
        fail(what, reply);
    freeReplyObject(reply);
}

static void pipelines(redisContext *c)
{
    for (int i = 0; i < PIPELINED; i++) {
        redisAppendCommand(c, "SET hiredis:%d value:%d", i, i);
        redisAppendCommand(c, "GET hiredis:%d", i);
    }
    for (int i = 0; i < PIPELINED; i++) {
        char wanted[32];
        snprintf(wanted, sizeof(wanted), "value:%d", i);
        is_text(take(c, "pipelined SET"), "pipelined SET", "OK");
        is_text(take(c, "pipelined GET"), "pipelined GET", wanted);
    }
    is_text(redisCommand(c, "SET bytes %b", "a\0b", (size_t)3), "SET", "OK");
    is_integer(redisCommand(c, "STRLEN bytes"), "STRLEN", 3);
}

static void transactions(redisContext *c, redisContext *other)
{
    is_text(redisCommand(c, "WATCH hiredis:n"), "WATCH", "OK");
    is_text(redisCommand(c, "MULTI"), "MULTI", "OK");
    is_text(redisCommand(c, "SET hiredis:n 1"), "SET", "QUEUED");
    is_text(redisCommand(c, "GET hiredis:n"), "GET", "QUEUED");
    redisReply *reply = redisCommand(c, "EXEC");
    ends_with(reply, "EXEC", "OK", "1");
    is_text(redisCommand(c, "WATCH hiredis:n"), "WATCH", "OK");
    is_text(redisCommand(other, "SET hiredis:n 2"), "SET", "OK");
    is_text(redisCommand(c, "MULTI"), "MULTI", "OK");
    is_text(redisCommand(c, "INCR hiredis:n"), "INCR", "QUEUED");
    reply = redisCommand(c, "EXEC");
    if (!reply || reply->type != REDIS_REPLY_NIL)
        fail("EXEC of a watched key that changed", reply);
    freeReplyObject(reply);
}

static void scripts(redisContext *c)
{
    redisReply *sha = redisCommand(c, "SCRIPT LOAD %s", "return redis.call('incrby', KEYS[1], 5)");
    if (!sha || sha->type != REDIS_REPLY_STRING)
        fail("SCRIPT LOAD", sha);
    is_integer(redisCommand(c, "EVALSHA %s 1 hiredis:n", sha->str), "EVALSHA", 7);
    freeReplyObject(sha);
    is_text(redisCommand(c, "EVAL %s 0 %s", "return ARGV[1]", "x"), "EVAL", "x");
}

static void channels(redisContext *c, redisContext *other)
{
    ends_with(redisCommand(other, "MGET hiredis:0 hiredis:1"), "MGET", "value:0", "value:1");
    freeReplyObject(redisCommand(c, "SUBSCRIBE hiredis:news"));
    is_integer(redisCommand(other, "PUBLISH hiredis:news hello"), "PUBLISH", 1);
    ends_with(take(c, "message"), "message", "hiredis:news", "hello");
    freeReplyObject(redisCommand(c, "UNSUBSCRIBE hiredis:news"));
}

static void waiting(redisContext *c, redisContext *other)
{
    redisAppendCommand(c, "BLPOP hiredis:list %d", PATIENCE_S);
    int done = 0;
    while (!done) // leaves
        if (redisBufferWrite(c, &done) != REDIS_OK)
            fail("BLPOP", NULL);
    is_integer(redisCommand(other, "RPUSH hiredis:list element"), "RPUSH", 1);
    ends_with(take(c, "BLPOP"), "BLPOP", "hiredis:list", "element");
}

static void tracking(redisContext *reads, redisContext *writes, redisContext *hears)
{
    redisReply *id = redisCommand(hears, "CLIENT ID");
    if (!id || id->type != REDIS_REPLY_INTEGER)
        fail("CLIENT ID", id);
    freeReplyObject(redisCommand(hears, "SUBSCRIBE __redis__:invalidate"));
    is_text(redisCommand(reads, "CLIENT TRACKING ON REDIRECT %lld", id->integer), "TRACKING", "OK");
    freeReplyObject(id);
    is_text(redisCommand(reads, "GET hiredis:1"), "GET", "value:1");
    is_text(redisCommand(writes, "SET hiredis:1 other"), "SET", "OK");
    redisReply *told = take(hears, "invalidation");
    if (!told || told->type != REDIS_REPLY_ARRAY || told->elements != 3 ||
        told->element[2]->type != REDIS_REPLY_ARRAY || told->element[2]->elements != 1 ||
        strcmp(told->element[2]->element[0]->str, "hiredis:1") != 0)
        fail("invalidation", told);
    freeReplyObject(told);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: hiredis-client HOST PORT\n");
        return 2;
    }
    int port = atoi(argv[2]);
    redisContext *a = open_connection(argv[1], port), *b = open_connection(argv[1], port),
                 *c = open_connection(argv[1], port);
    pipelines(a);
    transactions(a, b);
    scripts(a);
    channels(a, b);
    waiting(a, b);
    tracking(a, b, c);
    redisFree(a);
    redisFree(b);
    redisFree(c);
    return 0;
}
