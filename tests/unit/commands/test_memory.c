// Memory of values of every type: what the store counts is what the allocator gave, to the byte,
// whatever happens to them; what is big goes in steps; a limit holds.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <mimalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/commands/command.h"
#include "tests/unit/commands/script.h"

enum { KEYS = 40, STEPS = 60000, BIG = 50000, BUDGET = 100, NODE_BYTES = 8 << 10 };

static struct script *s;
static mi_heap_t *heap, *before;
static uint64_t random_state;

static unsigned random_below(unsigned n)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (unsigned)((z ^ z >> 31) % n);
}

// All that is allocated from now on lies in a heap of its own, that can be walked.
static int begin(void **state)
{
    (void)state;
    s = script_open(1);
    const char *seed = getenv("SEED");
    random_state = seed ? strtoull(seed, NULL, 0) : 1;
    heap = mi_heap_new();
    before = mi_heap_set_default(heap);
    return 0;
}

static bool add_block(const mi_heap_t *h, const mi_heap_area_t *area, void *block, size_t size,
                      void *sum)
{
    (void)h;
    (void)area;
    (void)size;
    if (block)
        *(uint64_t *)sum += mi_usable_size(block);
    return true;
}

static uint64_t in_use(void)
{
    uint64_t sum = 0;
    script_forget(s);
    mi_heap_visit_blocks(heap, true, add_block, &sum);
    return sum;
}

static int end(void **state)
{
    (void)state;
    script_limit_memory(s, 0);
    script_run(s, "flushall");
    script_maintain(s);
    assert_int_equal(script_memory(s), 0);
    assert_int_equal(in_use(), 0);
    mi_heap_set_default(before);
    script_close(s);
    mi_heap_destroy(heap);
    return 0;
}

// --- random commands ----------------------------------------------------------------------------

// k: a key, m: one of few members, n: a number, v: a value, b: a big one, t: milliseconds to live.
// Strings stay below the size from which copies share one block, which counts for each of them.
static const char *const templates[] = {
    "set k v",
    "append k v",
    "setrange k 700 v",
    "set k v px t",
    "hset k m v",
    "hset k m v m v",
    "hset k m b",
    "hdel k m m m",
    "hincrby k m n",
    "hexpire k 5 fields 1 m",
    "hpexpire k t fields 2 m m",
    "hpersist k fields 1 m",
    "hsetex k px t fields 1 m v",
    "hgetdel k fields 1 m",
    "sadd k m n v",
    "sadd k n n n",
    "srem k m n n",
    "spop k",
    "sunionstore k k k",
    "sdiffstore k k k",
    "smove k k m",
    "rpush k v v n",
    "lpush k v b",
    "lpop k 3",
    "rpop k",
    "linsert k before n v",
    "lset k n v",
    "ltrim k 1 -2",
    "lrem k 1 n",
    "lmove k k left right",
    "zadd k n m n m",
    "zadd k n v",
    "zincrby k n m",
    "zrem k m m",
    "zremrangebyrank k 0 2",
    "zpopmin k",
    "zunionstore k 2 k k",
    "zrangestore k k 0 5",
    "xadd k * m v",
    "xadd k maxlen ~ 10 * m v m b",
    "xtrim k maxlen 5",
    "xgroup create k g 0 mkstream",
    "xreadgroup group g c count 2 streams k >",
    "xack k g n",
    "pfadd k m v n",
    "pfmerge k k k",
    "setbit k n 1",
    "geoadd k 10 20 m",
    "expire k 100",
    "persist k",
    "pexpire k t",
    "rename k k",
    "copy k k replace",
    "move k 1",
    "del k",
    "unlink k k",
    "copy k k db 2 replace",
};

static void word(char *to, char kind)
{
    static const char *const values[] = {"v", "12345", "value", "a longer value than the others"};
    switch (kind) {
    case 'k':
        sprintf(to, random_below(3) ? "k%u" : "{x}%u", random_below(KEYS));
        break;
    case 'm':
        sprintf(to, "m%u", random_below(random_below(4) ? 30 : 600));
        break;
    case 'n':
        sprintf(to, "%u", random_below(random_below(4) ? 50 : 100000));
        break;
    case 't':
        sprintf(to, "%u", 1 + random_below(3000));
        break;
    case 'b':
        memset(to, 'b', 3000);
        to[random_below(2999) + 1] = '\0';
        break;
    default:
        sprintf(to, "%s%u", values[random_below(4)], random_below(1000));
    }
}

static bool exists(const char *template)
{
    return commands_find_name(template, strcspn(template, " ")) != NULL;
}

static void run_random(void)
{
    static char line[16384];
    const char *template = templates[random_below(sizeof(templates) / sizeof(templates[0]))];
    if (!exists(template))
        return;
    char *to = line;
    for (const char *p = template; *p;) {
        size_t len = strcspn(p, " ");
        if (to > line && len == 1 && strchr("kmntbv", *p)) {
            word(to, *p);
            to += strlen(to);
        } else {
            memcpy(to, p, len);
            to += len;
        }
        p += len;
        if (*p)
            *to++ = *p++;
        *to = '\0';
    }
    script_run(s, line);
    if (random_below(50) == 0)
        script_advance(s, random_below(200));
    if (random_below(20) == 0)
        script_maintain_turn(s, random_below(100));
}

static void expect_exact(void)
{
    script_maintain(s);
    uint64_t counted = script_memory(s), used = in_use();
    if (counted != used)
        fail_msg("counted %llu, in use %llu", (unsigned long long)counted,
                 (unsigned long long)used);
}

// --- memory is short ----------------------------------------------------------------------------

// The linker puts these before the allocator's.
void *__real_mi_malloc(size_t size);
void *__real_mi_zalloc(size_t size);
void *__real_mi_realloc(void *p, size_t size);
void *__wrap_mi_malloc(size_t size);
void *__wrap_mi_zalloc(size_t size);
void *__wrap_mi_realloc(void *p, size_t size);

static unsigned fail_one_in; // 0: none
static unsigned failures;

static bool fails(void)
{
    bool yes = fail_one_in && random_below(fail_one_in) == 0;
    failures += yes;
    return yes;
}

void *__wrap_mi_malloc(size_t size)
{
    return fails() ? NULL : __real_mi_malloc(size);
}

void *__wrap_mi_zalloc(size_t size)
{
    return fails() ? NULL : __real_mi_zalloc(size);
}

void *__wrap_mi_realloc(void *p, size_t size)
{
    return fails() ? NULL : __real_mi_realloc(p, size);
}

static void around(bool begin)
{
    fail_one_in = begin ? 1 + random_below(8) : 0;
}

// Whatever allocation fails in whatever command: nothing is lost. A listpack that could not move to
// less memory counts as if it had, until it changes or goes.
static void test_short(void **state)
{
    (void)state;
    failures = 0;
    for (unsigned i = 0; i < STEPS; i++) {
        bool is_short = random_below(4) == 0;
        script_around(s, is_short ? around : NULL);
        run_random();
        if (i % (STEPS / 200) == 0) {
            script_maintain(s);
            uint64_t counted = script_memory(s), used = in_use();
            assert_true(used >= counted && used - counted < 16 * 3 * KEYS);
        }
    }
    script_around(s, NULL);
    script_run(s, "flushall");
    expect_exact();
    print_message("%u allocations failed\n", failures);
    assert_true(failures > STEPS / 100);
}

static void test_counted_exactly(void **state)
{
    (void)state;
    for (unsigned i = 0; i < STEPS; i++) {
        run_random();
        if (i % (STEPS / 200) == 0)
            expect_exact();
        if (i % (STEPS / 8) == 1)
            script_run(s, "flushall");
    }
    expect_exact();
}

// A limit holds to what one command and what is on its way out may be above it.
static void test_limit(void **state)
{
    (void)state;
    uint64_t most = 0, max = 100000;
    script_limit_memory(s, max);
    for (unsigned i = 0; i < STEPS; i++) {
        run_random();
        if (script_memory(s) > most)
            most = script_memory(s);
    }
    script_maintain(s);
    print_message("at most %llu of %llu\n", (unsigned long long)most, (unsigned long long)max);
    assert_true(script_memory(s) <= max);
    assert_true(most > max && most < max + 20000);
    expect_exact();
}

// --- big ones -----------------------------------------------------------------------------------

// By command, # for the number of the element. The limits of encodings are passed.
static const char *const adding[] = {
    "hset big field# value#", "sadd big member#",   "sadd big #",
    "rpush big element#",     "zadd big # member#", "xadd big #-1 field value#",
};
static const char *const removing[] = {
    "del big", "unlink big", "set big v", "flushall", "pexpire big 1", "rename small big",
};

static void fill(const char *template)
{
    for (unsigned i = 1; i <= BIG; i++) {
        char line[128], *to = line;
        for (const char *p = template; *p; p++) {
            if (*p == '#')
                to += sprintf(to, "%u", i);
            else
                *to++ = *p;
        }
        *to = '\0';
        const char *reply = script_run(s, line);
        if (*reply == '-')
            fail_msg("%s: %s", line, reply);
    }
}

// The removing itself gives nearly nothing back; each turn a little.
static void expect_steps(const char *template, const char *command)
{
    script_run(s, "set small v");
    fill(template);
    script_maintain(s);
    uint64_t all = script_memory(s), largest = 0;
    script_run(s, command);
    if (strncmp(command, "pexpire", 7) == 0)
        script_advance(s, 100);
    uint64_t now = script_memory(s);
    if (now < all - all / 100)
        fail_msg("%s of %s gave back %llu of %llu", command, template,
                 (unsigned long long)(all - now), (unsigned long long)all);
    unsigned turns = 0;
    bool more = true;
    while (more) {
        more = script_maintain_turn(s, BUDGET);
        uint64_t after = script_memory(s);
        if (now > after && now - after > largest)
            largest = now - after;
        now = after;
        assert_true(++turns < 100 * BIG / BUDGET);
    }
    print_message("%s, %s: %u turns, at most %llu of %llu bytes\n", template, command, turns,
                  (unsigned long long)largest, (unsigned long long)all);
    // A node of a list or a stream is one allocation, however much it holds.
    assert_true(largest < all / 5 || largest <= BUDGET * NODE_BYTES);
    assert_true(now < all / 50);
    script_run(s, "flushall");
    expect_exact();
    assert_int_equal(script_memory(s), 0);
}

// Evicting a big value gives its memory back later: no other key goes meanwhile.
static void test_limit_of_big(void **state)
{
    (void)state;
    enum { SETS = 10 };
    for (unsigned key = 0; key < SETS; key++)
        for (unsigned i = 0; i < BIG / SETS; i++) {
            char line[64];
            snprintf(line, sizeof(line), "sadd big%u member%u", key, i);
            assert_string_equal(script_run(s, line), ":1");
        }
    script_maintain(s);
    script_limit_memory(s, script_memory(s) - 4096); // more than an entry and its table
    while (script_maintain_turn(s, BUDGET))
        ;
    script_maintain(s);
    assert_int_equal(script_keys(s), SETS - 1);
    script_limit_memory(s, 0);
    script_run(s, "flushall");
    expect_exact();
}

static void test_big_in_steps(void **state)
{
    (void)state;
    script_limits(s)->set_max_intset_entries = 512;
    for (unsigned i = 0; i < sizeof(adding) / sizeof(adding[0]); i++)
        for (unsigned j = 0; exists(adding[i]) && j < sizeof(removing) / sizeof(removing[0]); j++)
            if (j == 0 || i % 3 == j % 3) // not each with each: it takes time
                expect_steps(adding[i], removing[j]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_counted_exactly, begin, end),
        cmocka_unit_test_setup_teardown(test_limit_of_big, begin, end),
        cmocka_unit_test_setup_teardown(test_limit, begin, end),
        cmocka_unit_test_setup_teardown(test_short, begin, end),
        cmocka_unit_test_setup_teardown(test_big_in_steps, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
