// Bitmaps, HyperLogLogs and places where a comparison with Redis cannot reach: effects, limits of
// length, shared blocks, memory.
#include "tests/unit/commands/scripted.h"

#define NIL "$-1"
#define BAD_OFFSET "-ERR bit offset is not an integer or out of range"
#define CORRUPT "-INVALIDOBJ Corrupted HLL object detected"
#define NO_HLL "-WRONGTYPE Key is not a valid HyperLogLog string value."

static void test_effects(void **state)
{
    (void)state;
    expect_effects("setbit k 7 1", ":0", "setbit k 7 1");
    expect_effects("setbit k 7 1", ":1", "");
    expect_effects("set n 123", "+OK", "set n 123");
    expect_effects("setbit n 2 1", ":1", ""); // only its encoding is another
    expect_effects("object encoding n", "$3 raw", "");
    expect_effects("getbit k 7", ":1", "");
    expect_effects("bitop not d k", ":1", "bitop not d k");
    expect_effects("bitop and d none", ":0", "bitop and d none");
    expect_effects("bitop and d none", ":0", "");
    expect_effects("bitfield f set u8 0 5 get u8 0", "*2 :0 :5", "bitfield f set u8 0 5 get u8 0");
    expect_effects("bitfield f set u8 0 5", "*1 :5", "");
    expect_effects("bitfield f overflow fail incrby u8 0 255", "*1 $-1", "");
    expect_effects("bitfield f get u8 0", "*1 :5", "");

    expect_effects("pfadd h", ":1", "pfadd h");
    expect_effects("pfadd h", ":0", "");
    expect_effects("pfadd h a b", ":1", "pfadd h a b");
    expect_effects("pfadd h a", ":0", "");
    expect_effects("pfcount h", ":2", ""); // keeps the estimate, which every copy can make again
    expect_effects("pfcount h", ":2", "");
    expect_effects("pfmerge m h", "+OK", "pfmerge m h");
    expect_effects("pfcount m h", ":2", "");
    expect_effects("pfdebug encoding m", "+sparse", "");
    expect_effects("pfdebug todense m", ":1", "pfdebug todense m");
    expect_effects("pfdebug todense m", ":0", "");
    expect_effects("pfadd m a", ":0", "");
    expect_effects("pfadd m c", ":1", "pfadd m c");

    expect_effects("geoadd g 13.361389 38.115556 p 15.087269 37.502669 q", ":2",
                   "ZADD g 3479099956230698 p 3479447370796909 q");
    expect_effects("geoadd g nx ch 13 38 p 0 0 o", ":1",
                   "ZADD g nx ch 3479065152021743 p 3377699720527872 o");
    expect_effects("geoadd g nx 13 38 p", ":0", "");
    expect_effects("geosearchstore t g fromlonlat 15 37 byradius 200 km", ":2",
                   "geosearchstore t g fromlonlat 15 37 byradius 200 km");
    expect_effects("geosearchstore t g fromlonlat 90 0 byradius 1 km", ":0",
                   "geosearchstore t g fromlonlat 90 0 byradius 1 km");
    expect_effects("geosearchstore t g fromlonlat 90 0 byradius 1 km", ":0", "");
}

static void test_limits(void **state)
{
    (void)state;
    script_limits(s)->bulk_max = 1000;
    script_play(s, (const struct step[]){
                       {"setbit k 7999 1", ":0"},
                       {"strlen k", ":1000"},
                       {"setbit k 8000 1", BAD_OFFSET},
                       {"getbit k 8000", BAD_OFFSET},
                       {"bitfield k set u8 #999 1", "*1 :1"},
                       {"bitfield k set u8 #1000 1", BAD_OFFSET},
                       {"bitfield k set u8 #9223372036854775807 1", BAD_OFFSET},
                       {"bitfield none get i64 7999", "*1 :0"},
                       {NULL, NULL},
                   });
}

// A value that two keys share is copied before one of them changes.
static void test_shared(void **state)
{
    (void)state;
    script_play(s, (const struct step[]){
                       {"setbit a 800000 1", ":0"},
                       {"copy a b", ":1"},
                       {"setbit b 800000 0", ":1"},
                       {"bitfield b set u16 #10 65535", "*1 :0"},
                       {"bitcount a", ":1"},
                       {"bitcount b", ":16"},
                       {"bitpos a 1", ":800000"},
                       {"bitpos b 1", ":160"},
                       {"bitop or c a b", ":100001"},
                       {"bitcount c", ":17"},
                       {"bitcount a", ":1"},
                       {NULL, NULL},
                   });
}

// A run of two bytes that the end cuts off: Redis reads what lies behind the string.
static void test_cut_off(void **state)
{
    (void)state;
    static const char runs[] = "HYLL\1\0\0\0\0\0\0\0\0\0\0\0\x7f";
    script_run_with(s, "set h @", runs, sizeof(runs) - 1);
    script_play(s, (const struct step[]){
                       {"pfadd h a", CORRUPT},
                       {"strlen h", ":17"},
                       {"pfmerge d h", CORRUPT},
                       {"pfdebug todense h", CORRUPT},
                       {"pfdebug decode h", "$7 Z:16129"},
                       {"pfcount h h", CORRUPT},
                       {"pfcount h", ":0"}, // the estimate that it keeps
                       {"set h HYLL", "+OK"},
                       {"pfcount h", NO_HLL},
                       {"exists d", ":0"},
                       {"pfselftest", "+OK"},
                       {NULL, NULL},
                   });
}

// Half of the registers are there: what was added before an element of the other half stays, and is
// told.
static void test_half(void **state)
{
    (void)state;
    static const char runs[] = "HYLL\1\0\0\0\0\0\0\0\0\0\0\x80\x5f\xff";
    script_run_with(s, "set h @", runs, sizeof(runs) - 1);
    expect_effects("pfadd h a d", CORRUPT, "");
    expect_effects("pfadd h d f a", CORRUPT, "PFADD h d f");
    expect_effects("pfadd h d a f", CORRUPT, "");
    expect_effects("pfadd h d f", ":0", "");
    expect_effects("pfdebug getreg h", CORRUPT, "");
}

// The forms of a HyperLogLog on its way to dense, and what it takes then.
static void test_forms(void **state)
{
    (void)state;
    script_limits(s)->hll_sparse_max_bytes = 100;
    char line[64];
    for (int i = 0; i < 100; i++) {
        snprintf(line, sizeof(line), "pfadd h e%d", i);
        script_run(s, line);
        bool dense = atoi(script_run(s, "strlen h") + 1) > 100;
        assert_string_equal(script_run(s, "pfdebug encoding h"), dense ? "+dense" : "+sparse");
        assert_true(dense == (i > 40) || (i > 20 && i < 60));
    }
    script_play(s, (const struct step[]){
                       {"strlen h", ":12304"},
                       {"object encoding h", "$3 raw"},
                       {"expire h 100", ":1"},
                       {"pfadd h more", ":1"},
                       {"ttl h", ":100"},
                       {"pfmerge h other", "+OK"},
                       {"ttl h", ":100"},
                       {NULL, NULL},
                   });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_effects, begin, end),
        cmocka_unit_test_setup_teardown(test_limits, begin, end),
        cmocka_unit_test_setup_teardown(test_shared, begin, end),
        cmocka_unit_test_setup_teardown(test_cut_off, begin, end),
        cmocka_unit_test_setup_teardown(test_half, begin, end),
        cmocka_unit_test_setup_teardown(test_forms, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
