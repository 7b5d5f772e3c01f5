// Hash commands where a comparison with Redis 7.0 cannot reach: the time of fields, effects, random
// fields.
#include <mimalloc.h>

#include "tests/unit/commands/scripted.h"

#define NOT_INTEGER "-ERR value is not an integer or out of range"
#define NO_FIELDS "-ERR Mandatory argument FIELDS is missing or not at the right position"
#define NOT_MATCHING "-ERR The `numfields` parameter must match the number of arguments"

static void test_conditions(void **state)
{
    (void)state;
    script_play(s, (const struct step[]){
                       {"hset h a 1 b 2 c 3", ":3"},
                       {"object encoding h", "$8 listpack"},
                       {"hexpire h 100 fields 2 a none", "*2 :1 :-2"},
                       {"object encoding h", "$9 hashtable"},
                       {"httl h fields 3 a b none", "*3 :100 :-1 :-2"},
                       {"hpttl h fields 1 a", "*1 :100000"},
                       {"hexpiretime h fields 1 a", "*1 :1700000100"},
                       {"hpexpiretime h fields 1 a", "*1 :1700000100000"},
                       {"hexpire h 50 nx fields 2 a b", "*2 :0 :1"},
                       {"hexpire h 200 XX fields 2 a c", "*2 :1 :0"},
                       {"hexpire h 100 gt fields 2 a c", "*2 :0 :0"},
                       {"hexpire h 300 gt fields 2 a c", "*2 :1 :0"},
                       {"hexpire h 400 lt fields 2 a c", "*2 :0 :1"},
                       {"hexpire h 100 lt fields 1 a", "*1 :1"},
                       {"hpexpire h 1500 fields 1 a", "*1 :1"},
                       {"httl h fields 1 a", "*1 :2"},
                       {"hexpireat h 1700000007 fields 1 a", "*1 :1"},
                       {"httl h fields 1 a", "*1 :7"},
                       {"hpexpireat h 1700000008000 fields 1 a", "*1 :1"},
                       {"httl h fields 1 a", "*1 :8"},
                       {"hpersist h fields 3 a a none", "*3 :1 :-1 :-2"},
                       {"httl h fields 1 a", "*1 :-1"},
                       {"hexpire h 100 fields 1 a", "*1 :1"},
                       {"hincrby h a 1", ":2"},
                       {"httl h fields 1 a", "*1 :100"},
                       {"hset h a 5", ":0"},
                       {"httl h fields 1 a", "*1 :-1"},
                       {NULL, NULL},
                   });
}

static void test_errors(void **state)
{
    (void)state;
    script_play(
        s, (const struct step[]){
               {"set s v", "+OK"},
               {"hexpire s x bogus 1 a b", WRONG_TYPE},
               {"httl s bogus 1 a", WRONG_TYPE},
               {"hexpire none 10 fields 2 a b", "*2 :-2 :-2"},
               {"httl none fields 2 a b", "*2 :-2 :-2"},
               {"hpersist none fields 2 a b", "*2 :-2 :-2"},
               {"hset h a 1", ":1"},
               {"hexpire h x fields 1 a", NOT_INTEGER},
               {"hexpire h -1 fields 1 a", "-ERR invalid expire time, must be >= 0"},
               {"hexpire h 9223372036854775807 fields 1 a",
                "-ERR invalid expire time in 'hexpire' command"},
               {"hpexpireat h 70368744177664 fields 1 a",
                "-ERR invalid expire time in 'hpexpireat' command"},
               {"hpexpireat h 70368744177663 fields 1 a", "*1 :1"},
               {"hexpire h 10 bogus 1 a", NO_FIELDS},
               {"hexpire h 10 nx gt fields 1 a", NO_FIELDS},
               {"hexpire h 10 fields 0 a", "-ERR Parameter `numFields` should be greater than 0"},
               {"hexpire h 10 fields 2 a", NOT_MATCHING},
               {"hexpire h 10 fields 1 a b", NOT_MATCHING},
               {"hgetdel h fields 2 a", NOT_MATCHING},
               {"hgetdel h bogus 1 a", NO_FIELDS},
               {"hgetdel h fields x a", "-ERR Number of fields must be a positive integer"},
               {"hgetex h ex 10 px 10 fields 1 a",
                "-ERR Only one of EX, PX, EXAT, PXAT or PERSIST arguments can be specified"},
               {"hgetex h keepttl fields 1 a", NO_FIELDS},
               {"hsetex h fnx fxx fields 1 a 1",
                "-ERR Only one of FXX or FNX arguments can be specified"},
               {"hsetex h ex 10 keepttl fields 1 a 1",
                "-ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"},
               {"hsetex h fields 1 a 1 b", "-ERR wrong number of arguments"},
               {"hsetex h fields 0 a 1", "-ERR invalid number of fields"},
               {"hsetex h nx fields 1 a 1", "-ERR unknown argument: nx"},
               {"hsetex h 1 fields 1 a 1", "-ERR unknown argument: 1"},
               {"hsetex h ex fields 1 a 1", NOT_INTEGER},
               {"hsetex h fnx fnx fields 1 a 1",
                "-ERR Only one of FXX or FNX arguments can be specified"},
               {"hgetex h persist 1 fields 1 a", NO_FIELDS},
               {"hgetex h fields 0 a", "-ERR Number of fields must be a positive integer"},
               {"httl h fields 0 a", "-ERR Number of fields must be a positive integer"},
               {"hsetex h ex 0 fields 1 b 1", ":1"},
               {"hsetex s fields 1 b 1", WRONG_TYPE},
               {NULL, NULL},
           });
}

// A field whose time is over is there for no command, at once.
static void test_invisible(void **state)
{
    (void)state;
    for (int removed = 0; removed < 2; removed++) {
        expect("hset h a 1 b 2 c 3 d 4", ":4");
        expect("hpexpire h 1000 fields 2 a b", "*2 :1 :1");
        expect("hlen h", ":4");
        script_advance(s, 1000);
        if (removed) {
            script_advance(s, 100);
            script_maintain(s);
            expect("hlen h", ":2");
        }
        script_play(s, (const struct step[]){
                           {"hlen h", ":2"},
                           {"hget h a", "$-1"},
                           {"hmget h a b c", "*3 $-1 $-1 $1 3"},
                           {"hexists h a", ":0"},
                           {"hstrlen h b", ":0"},
                           {"httl h fields 2 a c", "*2 :-2 :-1"},
                           {"hpersist h fields 1 a", "*1 :-2"},
                           {"hexpire h 10 fields 1 b", "*1 :-2"},
                           {"hdel h a", ":0"},

                           {NULL, NULL},
                       });
        assert_int_equal(strncmp(script_run(s, "hgetall h"), "*4 ", 3), 0);
        assert_int_equal(strncmp(script_run(s, "hrandfield h 10"), "*2 ", 3), 0);
        assert_int_equal(strncmp(script_run(s, "hvals h"), "*2 ", 3), 0);
        assert_int_equal(strncmp(script_run(s, "hscan h 0 count 100"), "*2 $1 0 *4 ", 11), 0);
        assert_int_equal(strncmp(script_run(s, "hscan h 0 count 100 novalues"), "*2 $1 0 *2 ", 11),
                         0);
        expect("hsetnx h b new", ":1");
        expect("httl h fields 1 b", "*1 :-1");
        expect("hincrby h a 5", ":5");
        expect("del h", ":1");
    }
}

// Fields go on their own, and the key with the last one.
static void test_active(void **state)
{
    (void)state;
    char line[64];
    for (int i = 0; i < 5000; i++) {
        snprintf(line, sizeof(line), "hset h f%d v", i);
        script_run(s, line);
        snprintf(line, sizeof(line), "hpexpire h %d fields 1 f%d", i < 4000 ? 1000 + i % 7 : 5000,
                 i);
        expect(line, "*1 :1");
    }
    expect("hset other a 1 b 2", ":2");
    expect("hpexpire other 2000 fields 1 a", "*1 :1");
    expect("pexpire other 9000", ":1");
    script_advance(s, 1500);
    script_maintain(s);
    expect("hlen h", ":1000");
    script_advance(s, 1000);
    script_maintain(s);
    expect("hlen other", ":1");
    expect("rename h {x}h", "+OK");
    expect("copy {x}h copied", ":1");
    expect("pexpire copied 100000", ":1");
    expect("persist copied", ":1");
    script_advance(s, 3000);
    script_maintain(s);
    assert_int_equal(script_keys(s), 1);
    expect("exists {x}h copied other", ":1");
    script_advance(s, 5000);
    script_maintain(s);
    assert_int_equal(script_keys(s), 0);
    assert_int_equal(script_memory(s), 0);
}

// HLEN is right to the millisecond, however many fields are over or were given other times.
static void test_count(void **state)
{
    (void)state;
    enum { FIELDS = 3000 };
    char line[64];
    for (unsigned many = 20; many <= FIELDS; many += FIELDS - 20) {
        for (unsigned i = 0; i < many; i++) {
            snprintf(line, sizeof(line), "hset h f%u v", i);
            script_run(s, line);
            snprintf(line, sizeof(line), "hpexpire h %u fields 1 f%u", i % 4 ? 503u : 700u, i);
            expect(line, "*1 :1");
            if (i % 3 == 0) { // a stale element of the index, or a second one
                snprintf(line, sizeof(line), "hpexpire h %u fields 1 f%u", i % 2 ? 900u : 501u, i);
                expect(line, "*1 :1");
            }
        }
        unsigned at[] = {500, 501, 502, 503, 699, 700, 899, 900}, now = 0;
        for (unsigned t = 0; t < sizeof(at) / sizeof(at[0]); t++) {
            script_advance(s, at[t] - now);
            now = at[t];
            unsigned live = 0;
            for (unsigned i = 0; i < many; i++) {
                unsigned over = i % 4 ? 503 : 700;
                if (i % 3 == 0)
                    over = i % 2 ? 900 : 501;
                live += over > now;
            }
            assert_int_equal(atoi(script_run(s, "hlen h") + 1), live);
        }
        script_maintain(s);
        script_advance(s, 100);
        script_maintain(s);
        assert_int_equal(script_keys(s), 0);
    }
}

// The last field of a hash that a command looks at.
static void test_gone_when_looked_at(void **state)
{
    (void)state;
    static const char *const lines[] = {"hlen h",    "hget h f",  "hdel h f",
                                        "hgetall h", "hscan h 0", "hsetnx h f v"};
    static const char *const replies[] = {":0", "$-1", ":0", "*0", "*2 $1 0 *0", ":1"};
    for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        expect("hsetex h px 100 fields 1 f v", ":1");
        script_advance(s, 200);
        expect(lines[i], replies[i]);
        assert_int_equal(script_keys(s), i == 5);
        expect("hrandfield none", "$-1");
    }
}

// What goes without a command is told.
static void test_told(void **state)
{
    (void)state;
    script_gone(s);
    expect("hset h a 1 b 2 c 3", ":3");
    expect("hpexpire h 100 fields 1 a", "*1 :1");
    expect("hpexpire h 200 fields 1 b", "*1 :1");
    expect("set k v px 100", "+OK");
    script_advance(s, 150);
    expect("hlen h", ":2");
    assert_string_equal(script_gone(s), "HDEL h a");
    expect("get k", "$-1");
    assert_string_equal(script_gone(s), "DEL k");
    script_advance(s, 150);
    expect("set k v px 100", "+OK");
    script_maintain(s);
    assert_string_equal(script_gone(s), "HDEL h b");
    script_advance(s, 150);
    script_maintain(s);
    assert_string_equal(script_gone(s), "DEL k");
    expect("hpexpire h 200 fields 1 c", "*1 :1");
    script_advance(s, 250);
    expect("hget h c", "$-1");
    assert_string_equal(script_gone(s), "HDEL h c");
    expect("exists h", ":0");
}

static void expect_events(const char *line, const char *events)
{
    script_run(s, line);
    assert_string_equal(script_events(s), events);
}

static void test_events(void **state)
{
    (void)state;
    expect_events("hset h a 1 b 2 c 3", "hset h");
    expect_events("hmset h d 1 e 2", "hset h");
    expect_events("hsetnx h a 1", "");
    expect_events("hsetnx h f 1", "hset h");
    expect_events("hincrby h a 1", "hincrby h");
    expect_events("hincrbyfloat h a 1", "hincrbyfloat h");
    expect_events("hget h a", "");
    expect_events("hexpire h 10 fields 2 a none", "hexpire h");
    expect_events("hexpire h 10 nx fields 1 a", "");
    expect_events("hpersist h fields 1 a", "hpersist h");
    expect_events("hpersist h fields 1 a", "");
    expect_events("hexpire h 0 fields 1 a", "hdel h");
    expect_events("hgetex h ex 10 fields 1 b", "hexpire h");
    expect_events("hgetex h persist fields 1 b", "hpersist h");
    expect_events("hgetex h fields 1 b", "");
    expect_events("hsetex h ex 10 fields 1 b 3", "hset h hexpire h");
    expect_events("hsetex h fields 1 b 3", "hset h");
    expect_events("hgetdel h fields 1 b", "hdel h");
    expect_events("hdel h none", "");
    expect_events("hdel h c d", "hdel h");
    expect_events("hdel h e f g", "hdel h del h");
    expect_events("hset g a 1", "hset g");
    expect_events("hgetdel g fields 1 a", "hdel g del g");
}

static void test_double_commands(void **state)
{
    (void)state;
    script_play(s, (const struct step[]){
                       {"hsetex h fxx fields 1 a 1", ":0"},
                       {"exists h", ":0"},
                       {"hsetex h fnx ex 100 fields 2 a 1 b 2", ":1"},
                       {"hsetex h fnx fields 2 a 1 c 2", ":0"},
                       {"hexists h c", ":0"},
                       {"hsetex h fxx keepttl fields 1 a 5", ":1"},
                       {"httl h fields 2 a b", "*2 :100 :100"},
                       {"hsetex h fields 1 a 6", ":1"},
                       {"httl h fields 1 a", "*1 :-1"},
                       {"hgetex h fields 2 a none", "*2 $1 6 $-1"},
                       {"hgetex h px 5000 fields 1 a", "*1 $1 6"},
                       {"hpttl h fields 1 a", "*1 :5000"},
                       {"hgetex h persist fields 1 a", "*1 $1 6"},
                       {"httl h fields 1 a", "*1 :-1"},
                       {"hgetex h exat 1 fields 1 a", "*1 $1 6"},
                       {"hexists h a", ":0"},
                       {"hgetdel h fields 2 a b", "*2 $-1 $1 2"},
                       {"exists h", ":0"},
                       {"hgetdel h fields 1 a", "*1 $-1"},
                       {"hgetex h ex 10 fields 1 a", "*1 $-1"},
                       {NULL, NULL},
                   });
}

static void test_effects(void **state)
{
    (void)state;
    expect_effects("hset h a 1 b 2 c 3", ":3", "hset h a 1 b 2 c 3");
    expect_effects("hincrbyfloat h a 1.5", "$3 2.5", "HSET h a 2.5");
    expect_effects("hincrby h b 1", ":3", "hincrby h b 1");
    expect_effects("hexpire h 100 fields 2 a none", "*2 :1 :-2",
                   "HPEXPIREAT h 1700000100000 FIELDS 1 a");
    expect_effects("hexpire h 100 gt fields 1 a", "*1 :0", "");
    expect_effects("hexpire h 0 fields 2 a none", "*2 :2 :-2", "HDEL h a");
    expect_effects("hsetex h ex 10 fields 2 x 1 y 2", ":1",
                   "HSET h x 1 y 2; HPEXPIREAT h 1700000010000 FIELDS 2 x y");
    expect_effects("hgetex h fields 1 x", "*1 $1 1", "");
    expect_effects("hgetex h px 500 fields 1 x", "*1 $1 1",
                   "HPEXPIREAT h 1700000000500 FIELDS 1 x");
    expect_effects("hgetex h persist fields 2 x b", "*2 $1 1 $1 3", "HPERSIST h FIELDS 1 x");
    expect_effects("hpersist h fields 1 b", "*1 :-1", "");
    expect_effects("hgetdel h fields 2 x none", "*2 $1 1 $-1", "HDEL h x");
    expect_effects("hdel h none", ":0", "");
    expect_effects("hdel h b c", ":2", "hdel h b c");
}

// Without repetition: different ones, as many as asked for, all of them hash fields; in tables and
// listpacks, with few and with many asked for.
static void test_random_fields(void **state)
{
    (void)state;
    static const int sizes[] = {1, 7, 100, 3000};
    for (unsigned k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
        int n = sizes[k];
        char line[64];
        script_run(s, "del h");
        for (int i = 0; i < n; i++) {
            snprintf(line, sizeof(line), "hset h %d %d", i, i * 2);
            script_run(s, line);
        }
        const int counts[] = {1, n / 20, n / 2, n - 1, n, n + 5, -n, -2 * n};
        for (unsigned j = 0; j < sizeof(counts) / sizeof(counts[0]); j++) {
            static unsigned char seen[3000];
            memset(seen, 0, sizeof(seen));
            snprintf(line, sizeof(line), "hrandfield h %d withvalues", counts[j]);
            const char *p = script_run(s, line);
            int want = counts[j] < 0 ? -counts[j] : counts[j] > n ? n : counts[j];
            int field, value, used;
            assert_int_equal(sscanf(p, "*%d%n", &field, &used), 1);
            assert_int_equal(field, 2 * want);
            p += used;
            for (int i = 0; i < want; i++) {
                assert_int_equal(sscanf(p, " $%*d %d $%*d %d%n", &field, &value, &used), 2);
                p += used;
                assert_in_range(field, 0, n - 1);
                assert_int_equal(value, 2 * field);
                if (counts[j] > 0)
                    assert_false(seen[field]);
                seen[field] = 1;
            }
        }
    }
    script_resp(s, 3);
    script_run(s, "del h");
    expect("hset h f v", ":1");
    expect("hrandfield h -2 withvalues", "*2 *2 $1 f $1 v *2 $1 f $1 v");
    expect("hrandfield h 0", "*0");
    expect("hrandfield h 1", "*1 $1 f");
    script_resp(s, 2);
}

// --- against a model ----------------------------------------------------------------------------

enum { MODEL_KEYS = 4, MODEL_FIELDS = 25, MODEL_STEPS = 120000 };

static struct model_hash {
    int64_t value[MODEL_FIELDS]; // -1: not there
    int64_t expiry[MODEL_FIELDS];
} model[MODEL_KEYS];
static int64_t model_now;
static uint64_t model_random;

static unsigned draw(unsigned n)
{
    model_random = model_random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((model_random >> 33) % n);
}

static void model_lapse(void)
{
    for (unsigned k = 0; k < MODEL_KEYS; k++)
        for (unsigned f = 0; f < MODEL_FIELDS; f++)
            if (model[k].expiry[f] >= 0 && model[k].expiry[f] <= model_now)
                model[k].value[f] = model[k].expiry[f] = -1;
}

static int64_t run_number(const char *format, ...)
{
    char line[256];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    const char *reply = script_run(s, line), *colon = strchr(reply, ':');
    if (*reply == '-' || !colon)
        fail_msg("%s: %s", line, reply);
    return strtoll(colon + 1, NULL, 10);
}

static void model_check(unsigned k, unsigned f)
{
    const struct model_hash *m = &model[k];
    bool there = m->value[f] >= 0;
    int64_t left = !there ? -2 : m->expiry[f] < 0 ? -1 : m->expiry[f] - model_now;
    assert_int_equal(run_number("hpttl %u fields 1 f%u", k, f), left);
    assert_int_equal(run_number("hexists %u f%u", k, f), there);
    unsigned live = 0;
    for (unsigned i = 0; i < MODEL_FIELDS; i++)
        live += m->value[i] >= 0;
    char line[32], want[32];
    snprintf(line, sizeof(line), "hkeys %u", k);
    int len = snprintf(want, sizeof(want), "*%u", live);
    assert_int_equal(strncmp(script_run(s, line), want, (size_t)len), 0);
    snprintf(line, sizeof(line), "hscan %u 0 count 1000 novalues", k);
    len = snprintf(want, sizeof(want), "*2 $1 0 *%u", live);
    assert_int_equal(strncmp(script_run(s, line), want, (size_t)len), 0);
    assert_int_equal(run_number("hlen %u", k), live);
    if (!there)
        return;
    snprintf(line, sizeof(line), "hget %u f%u", k, f);
    assert_int_equal(strtoll(strchr(script_run(s, line), ' '), NULL, 10), m->value[f]);
}

static void model_step(void)
{
    unsigned k = draw(MODEL_KEYS), f = draw(MODEL_FIELDS), other = draw(MODEL_KEYS);
    int64_t *value = &model[k].value[f], *expiry = &model[k].expiry[f], v = draw(1000);
    bool there = *value >= 0, any = false;
    for (unsigned i = 0; i < MODEL_FIELDS; i++)
        any |= model[k].value[i] >= 0;
    switch (draw(13)) {
    case 0:
    case 1:
        assert_int_equal(run_number("hset %u f%u %d", k, f, (int)v), !there);
        *value = v;
        *expiry = -1;
        break;
    case 2:
    case 3: {
        int64_t ms = draw(3) ? 1 + draw(400) : 1 + draw(20);
        assert_int_equal(run_number("hpexpire %u %d fields 1 f%u", k, (int)ms, f), there ? 1 : -2);
        if (there)
            *expiry = model_now + ms;
        break;
    }
    case 4:
        assert_int_equal(run_number("hpersist %u fields 1 f%u", k, f), !there        ? -2
                                                                       : *expiry < 0 ? -1
                                                                                     : 1);
        *expiry = -1;
        break;
    case 5:
        assert_int_equal(run_number("hdel %u f%u", k, f), there);
        *value = *expiry = -1;
        break;
    case 6:
        *value = (there ? *value : 0) + 1;
        assert_int_equal(run_number("hincrby %u f%u 1", k, f), *value);
        break;
    case 7:
        assert_int_equal(run_number("hsetex %u fxx keepttl fields 1 f%u %d", k, f, (int)v), there);
        if (there)
            *value = v;
        break;
    case 8:
        assert_int_equal(run_number("hsetex %u fnx px 100 fields 1 f%u %d", k, f, (int)v), !there);
        if (!there) {
            *value = v;
            *expiry = model_now + 100;
        }
        break;
    case 9:
        if (k == other || !any || draw(8))
            break;
        assert_int_equal(run_number("copy %u %u replace", k, other), 1);
        model[other] = model[k];
        break;
    case 10:
        if (k == other || !any || draw(8))
            break;
        assert_int_equal(run_number("del %u", other) <= 1, 1);
        assert_int_equal(run_number("renamenx %u %u", k, other), 1);
        model[other] = model[k];
        memset(&model[k], -1, sizeof(model[k]));
        break;
    case 11:
        assert_int_equal(run_number("pexpire %u 100000000", k) >= any, 1);
        break;
    default: {
        unsigned ms = draw(4) ? draw(3) : draw(60);
        model_now += ms;
        script_advance(s, ms);
        if (draw(2))
            script_maintain_turn(s, draw(5));
    }
    }
}

static void test_model(void **state)
{
    (void)state;
    const char *seed = getenv("SEED");
    model_random = seed ? strtoull(seed, NULL, 0) : 1;
    model_now = SCRIPT_START_MS;
    memset(model, -1, sizeof(model));
    for (unsigned i = 0; i < MODEL_STEPS; i++) {
        script_limits(s)->hash_max_listpack_entries = i / 10000 % 2 ? 512 : 4;
        model_lapse();
        model_step();
        model_lapse();
        if (i % 4 == 0)
            model_check(draw(MODEL_KEYS), draw(MODEL_FIELDS));
    }
    model_now += 2000;
    script_advance(s, 2000);
    script_maintain(s);
    model_lapse();
    for (unsigned k = 0; k < MODEL_KEYS; k++) {
        unsigned live = 0;
        for (unsigned i = 0; i < MODEL_FIELDS; i++)
            live += model[k].value[i] >= 0;
        assert_int_equal(run_number("hlen %u", k), live);
        assert_int_equal(run_number("exists %u", k), live > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_conditions, begin, end),
        cmocka_unit_test_setup_teardown(test_errors, begin, end),
        cmocka_unit_test_setup_teardown(test_invisible, begin, end),
        cmocka_unit_test_setup_teardown(test_active, begin, end),
        cmocka_unit_test_setup_teardown(test_count, begin, end),
        cmocka_unit_test_setup_teardown(test_gone_when_looked_at, begin, end),
        cmocka_unit_test_setup_teardown(test_told, begin, end),
        cmocka_unit_test_setup_teardown(test_events, begin, end),
        cmocka_unit_test_setup_teardown(test_double_commands, begin, end),
        cmocka_unit_test_setup_teardown(test_effects, begin, end),
        cmocka_unit_test_setup_teardown(test_random_fields, begin, end),
        cmocka_unit_test_setup_teardown(test_model, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
