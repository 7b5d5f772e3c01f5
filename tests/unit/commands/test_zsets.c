// Sorted set commands where a comparison with Redis cannot reach: what their effects are, that
// random members are members, that names meet in every form of a set, and that no memory stays.
#include "tests/unit/commands/scripted.h"

static void test_effects(void **state)
{
    (void)state;
    expect_effects("zadd z 1 a 2 b 3 c 4 d 5 e", ":5", "zadd z 1 a 2 b 3 c 4 d 5 e");
    expect_effects("zadd z 1 a", ":0", "");
    expect_effects("zadd z gt incr 1 a", "$1 2", "zadd z gt incr 1 a");
    expect_effects("zadd none xx 1 a", ":0", "");
    expect_effects("bzpopmin none z 0", "*3 $1 z $1 a $1 2", "ZPOPMIN z");
    expect_effects("bzpopmax none z 0", "*3 $1 z $1 e $1 5", "ZPOPMAX z");
    expect_effects("zmpop 2 none z max count 2", "*2 $1 z *2 *2 $1 d $1 4 *2 $1 c $1 3",
                   "ZPOPMAX z 2");
    expect_effects("bzmpop 0 2 none z min", "*2 $1 z *1 *2 $1 b $1 2", "ZPOPMIN z 1");
    expect_effects("zrem z a", ":0", "");
    expect_effects("zpopmin z", "*0", "");
    expect_effects("bzpopmin none z 0", "*-1", "");
    expect_effects("zremrangebyrank z 0 -1", ":0", "");
    expect_effects("zunionstore z 1 none", ":0", "");
    expect("exists z", ":0");
}

static void test_wrong_type(void **state)
{
    (void)state;
    expect("set text v", "+OK");
    expect("bzpopmin text 0", WRONG_TYPE);
    expect("bzmpop 0 1 text min", WRONG_TYPE);
    expect("zunion 2 none text", WRONG_TYPE);
}

// Members of a set in each of its forms, among them integers.
static void test_sets_as_sources(void **state)
{
    (void)state;
    struct value_limits *limits = script_limits(s);
    expect("sadd numbers 1 2 3", ":3");
    expect("zadd z 10 2 20 x 30 3", ":3");
    for (unsigned small = 0; small < 2; small++) {
        limits->set_max_listpack_entries = small ? 128 : 0;
        expect("sadd words x 2", ":2");
        expect("zunion 2 z numbers withscores", "*8 $1 1 $1 1 $1 2 $2 11 $1 x $2 20 $1 3 $2 31");
        expect("zinter 3 z numbers words withscores", "*2 $1 2 $2 12");
        expect("zdiff 2 z words", "*1 $1 3");
        expect("zdiff 2 words numbers", "*1 $1 x");
        expect("zintercard 2 numbers z limit 1", ":1");
        expect("del words", ":1");
    }
}

static void test_random_members(void **state)
{
    (void)state;
    char line[64];
    for (int i = 0; i < 300; i++) { // small first, then big
        snprintf(line, sizeof(line), "zadd z %d %d", i, i);
        expect(line, ":1");
        bool seen[300] = {false};
        snprintf(line, sizeof(line), "zrandmember z %d withscores", i / 7 + 1);
        const char *reply = script_run(s, line);
        int head, n = 0;
        assert_int_equal(sscanf(reply, "*%d", &head), 1);
        assert_int_equal(head, 2 * (i / 7 + 1));
        for (const char *p = strchr(reply, '$'); p; p = strchr(p + 1, '$')) {
            int name_len, name, score_len, score;
            assert_int_equal(sscanf(p, "$%d %d $%d %d", &name_len, &name, &score_len, &score), 4);
            assert_int_equal(name, score);
            assert_true(name >= 0 && name <= i && !seen[name]);
            seen[name] = true;
            n++;
            p = strchr(p + 1, '$');
        }
        assert_int_equal(n, i / 7 + 1);
    }
    bool seen[300] = {false};
    for (int i = 0, left = 300; left; i++) {
        int len, name;
        assert_true(i < 20000);
        assert_int_equal(sscanf(script_run(s, "zrandmember z"), "$%d %d", &len, &name), 2);
        left -= !seen[name];
        seen[name] = true;
    }
    assert_int_equal(strncmp(script_run(s, "zrandmember z -5000"), "*5000 ", 6), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_effects, begin, end),
        cmocka_unit_test_setup_teardown(test_wrong_type, begin, end),
        cmocka_unit_test_setup_teardown(test_sets_as_sources, begin, end),
        cmocka_unit_test_setup_teardown(test_random_members, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
