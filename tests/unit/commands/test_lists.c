// List commands: what they tell of what they did, and what redis-server beside cannot show.
#include "tests/unit/commands/scripted.h"

// What waits tells what it did; what pops from the first of many tells from which.
static void test_effects(void **state)
{
    (void)state;
    expect_effects("rpush k a b c d e f", ":6", "rpush k a b c d e f");
    expect_effects("blpop none k 0", "*2 $1 k $1 a", "LPOP k");
    expect_effects("brpop k none 0", "*2 $1 k $1 f", "RPOP k");
    expect_effects("lmpop 2 none k left count 2", "*2 $1 k *2 $1 b $1 c", "LPOP k 2");
    expect_effects("blmpop 0 1 k right count 9", "*2 $1 k *2 $1 e $1 d", "RPOP k 2");
    expect_effects("blmpop 0 1 k right count 9", "*-1", "");
    expect_effects("blpop k 0", "*-1", "");
    expect_effects("rpush k a b c", ":3", "rpush k a b c");
    expect_effects("blmove k m left right 0", "$1 a", "LMOVE k m left right");
    expect_effects("brpoplpush k m 0", "$1 c", "RPOPLPUSH k m");
    expect_effects("lmove k k left left", "$1 b", "lmove k k left left");
    expect_effects("rpoplpush m m", "$1 a", "rpoplpush m m");
    expect_effects("lrange m 0 -1", "*2 $1 a $1 c", "");
}

// Nothing is told of what changed nothing.
static void test_no_effects(void **state)
{
    (void)state;
    expect_effects("lpushx k a", ":0", "");
    expect_effects("lpop k", "$-1", "");
    expect_effects("rpush k a b", ":2", "rpush k a b");
    expect_effects("lpop k 0", "*0", "");
    expect_effects("lrem k 0 x", ":0", "");
    expect_effects("linsert k before x y", ":-1", "");
    expect_effects("ltrim k 0 -1", "+OK", "");
    expect_effects("lset k 2 x", "-ERR index out of range", "");
    expect_effects("lmove none k left left", "$-1", "");
    expect_effects("blmove none k left left 0", "$-1", "");
    expect_effects("ltrim k 5 9", "+OK", "ltrim k 5 9");
    expect_effects("exists k", ":0", "");
}

// An element of its own memory, moved within a list and between lists, of every kind of node.
static void test_moves(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 63, 64, 255, 256, 257, 4096, 8180, 8192, 8193, 100000};
    char *data = malloc(100000);
    memset(data, 'x', 100000);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (unsigned depth = 0; depth < 3; depth++) {
            char reply[32];
            script_limits(s)->list_compress_depth = depth;
            script_run(s, "del k m");
            for (int n = 0; n < 9; n++)
                script_run_with(s, n % 2 ? "lpush k @" : "rpush k @", data, sizes[i]);
            script_run(s, "rpush k 12345");
            for (int n = 0; n < 25; n++)
                script_run(s, n % 3 ? "lmove k k left right" : "lmove k m right left");
            for (int n = 0; n < 9; n++)
                script_run(s, n % 2 ? "lmove m k left left" : "lmove m k right right");
            expect("exists m", ":0");
            expect("llen k", ":10");
            expect("lrem k -1 12345", ":1");
            snprintf(reply, sizeof(reply), "$%zu ", sizes[i]);
            for (int n = 0; n < 9; n++)
                assert_memory_equal(script_run(s, "lpop k"), reply, strlen(reply));
            expect("exists k", ":0");
        }
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_effects, begin, end),
        cmocka_unit_test_setup_teardown(test_no_effects, begin, end),
        cmocka_unit_test_setup_teardown(test_moves, begin, end),
    };
    script_cores = 2;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
