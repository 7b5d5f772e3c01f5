// A listpack does what an array of strings does, whatever is changed; its bytes are those that
// Redis writes; and nothing that is not one is taken for one.
#include "tests/unit/values/words.h"

#include <mimalloc.h>

#include "dataplane/store/values/listpack.h"

enum { SEEDS = 60, STEPS = 400, WORD_MAX = 20000, COUNT_MAX = 120 };

static void check_item(const uint8_t *p, const struct word *w)
{
    char scratch[24];
    size_t len;
    const uint8_t *text = lp_text(p, scratch, &len);
    assert_int_equal(len, w->len);
    assert_memory_equal(text, w->data, len);
    assert_true(lp_equal(p, w->data, w->len));
    struct lp_item item, get = lp_get(p);
    const uint8_t *next = lp_step(p, &item);
    assert_true(item.ptr == get.ptr && item.len == get.len && item.value == get.value);
    assert_int_equal(next - p, lp_element_bytes(w->data, w->len));
}

static void check(const uint8_t *lp, const struct words *m)
{
    uint32_t count;
    assert_true(lp_validate(lp, lp_bytes(lp), &count));
    assert_int_equal(count, m->n);
    assert_int_equal(lp_count(lp), m->n);
    assert_true(lp_memory(lp) >= lp_bytes(lp));
    const uint8_t *p = lp_first(lp);
    for (size_t i = 0; i < m->n; i++, p = lp_next(lp, p)) {
        assert_non_null(p);
        check_item(p, &m->at[i]);
    }
    assert_null(p);
    p = lp_last(lp);
    for (size_t i = m->n; i-- > 0; p = lp_prev(lp, p)) {
        assert_non_null(p);
        assert_true(lp_equal(p, m->at[i].data, m->at[i].len));
    }
    assert_null(p);
}

static void check_find(uint8_t *lp, const struct words *m, const char *word, size_t len)
{
    unsigned skip = (unsigned)below(3);
    size_t from = m->n ? below(m->n) : 0, i = from;
    while (i < m->n && (m->at[i].len != len || memcmp(m->at[i].data, word, len) != 0))
        i += skip + 1;
    uint8_t *p = lp_find(lp, lp_seek(lp, (int64_t)from), word, len, skip);
    assert_ptr_equal(p, i < m->n ? lp_seek(lp, (int64_t)i) : NULL);
}

static uint8_t *step(uint8_t *lp, struct words *m, char *word)
{
    size_t len = draw_word(word, WORD_MAX), i = m->n ? below(m->n) : 0;
    uint8_t *p = lp_seek(lp, below(2) ? (int64_t)i : (int64_t)i - (int64_t)m->n), *at;
    if (m->n)
        check_item(p, &m->at[i]);
    assert_null(lp_seek(lp, (int64_t)m->n));
    assert_null(lp_seek(lp, -(int64_t)m->n - 1));
    unsigned what = (unsigned)below(m->n > COUNT_MAX ? 16 : 12);
    if (what == 0) {
        words_insert(m, m->n, word, len);
        return lp_append(lp, word, len);
    }
    if (what == 1) {
        words_insert(m, 0, word, len);
        return lp_prepend(lp, word, len);
    }
    if (what == 2) {
        int64_t value = draw_integer();
        len = (size_t)snprintf(word, 24, "%lld", (long long)value);
        words_insert(m, m->n, word, len);
        return lp_append_integer(lp, value);
    }
    if (what == 3) {
        uint8_t *other = lp_copy(lp);
        check(other, m);
        lp_free(other);
        return lp_shrink(lp);
    }
    if (what == 4) {
        check_find(lp, m, word, len);
        if (m->n)
            check_find(lp, m, m->at[i].data, m->at[i].len);
        return lp;
    }
    if (!m->n)
        return lp;
    if (what <= 6) {
        bool after = what == 5;
        words_insert(m, i + after, word, len);
        lp = lp_insert(lp, p, after ? LP_AFTER : LP_BEFORE, word, len, &at);
        check_item(at, &m->at[i + after]);
        return lp;
    }
    if (what <= 9) {
        int64_t value = draw_integer();
        bool integer = what == 9;
        if (integer)
            len = (size_t)snprintf(word, 24, "%lld", (long long)value);
        words_delete(m, i, 1);
        words_insert(m, i, word, len);
        lp = integer ? lp_insert_integer(lp, p, LP_REPLACE, value, &at)
                     : lp_insert(lp, p, LP_REPLACE, word, len, &at);
        check_item(at, &m->at[i]);
        return lp;
    }
    if (what == 10) {
        words_delete(m, i, 1);
        lp = lp_delete(lp, p, &at);
        assert_ptr_equal(at, lp_seek(lp, (int64_t)i));
        return lp;
    }
    uint32_t n = (uint32_t)below(what > 11 ? 60 : 6);
    words_delete(m, i, n);
    if (below(2))
        return lp_delete_range(lp, (int64_t)i, n);
    lp = lp_delete_from(lp, p, n, &at);
    assert_ptr_equal(at, lp_seek(lp, (int64_t)i));
    return lp;
}

static void test_model(void **state)
{
    (void)state;
    char *word = malloc(WORD_MAX);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        words_state = seed;
        struct words m = {0};
        uint8_t *lp = lp_new(below(2) ? 0 : 100);
        for (int i = 0; i < STEPS; i++) {
            lp = step(lp, &m, word);
            assert_non_null(lp);
            check(lp, &m);
        }
        lp_free(lp);
        words_free(&m);
    }
    free(word);
}

// Bytes as redis-server writes them into a DUMP.
static void test_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *bytes;
        size_t n;
    } cases[] = {
        {"0", "\x00\x01", 2},
        {"127", "\x7f\x01", 2},
        {"128", "\xc0\x80\x02", 3},
        {"-1", "\xdf\xff\x02", 3},
        {"-4096", "\xd0\x00\x02", 3},
        {"4096", "\xf1\x00\x10\x03", 4},
        {"-32768", "\xf1\x00\x80\x03", 4},
        {"32768", "\xf2\x00\x80\x00\x04", 5},
        {"-8388609", "\xf3\xff\xff\x7f\xff\x05", 6},
        {"2147483648", "\xf4\x00\x00\x00\x80\x00\x00\x00\x00\x09", 10},
        {"", "\x80\x01", 2},
        {"ab",
         "\x82"
         "ab\x03",
         4},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t *lp = lp_append(lp_new(0), cases[i].text, strlen(cases[i].text));
        assert_int_equal(lp_bytes(lp), LP_EMPTY_BYTES + cases[i].n);
        assert_memory_equal(lp + 6, cases[i].bytes, cases[i].n);
        lp_free(lp);
    }
    char text[4096];
    memset(text, 'x', sizeof(text));
    uint8_t *lp = lp_append(lp_append(lp_new(0), text, 64), text, 4096);
    assert_memory_equal(lp + 6, "\xe0\x40x", 3);
    assert_memory_equal(lp + 6 + 66, "\x42\xf0\x00\x10\x00\x00x", 7);
    assert_memory_equal(lp + 6 + 67 + 4101, "\x20\x85\xff", 3); // 4101 = 32 * 128 + 5
    lp_free(lp);
}

// The count in the header ends at 65,535.
static void test_many(void **state)
{
    (void)state;
    uint8_t *lp = lp_new(0), *half;
    for (int i = 0; i < 40000; i++)
        lp = lp_append(lp, "7", 1);
    half = lp_copy(lp);
    lp = lp_append_all(lp, half);
    uint32_t count;
    assert_int_equal(lp_count(lp), 80000);
    assert_true(lp_validate(lp, lp_bytes(lp), &count));
    assert_int_equal(count, 80000);
    assert_ptr_equal(lp_seek(lp, 79999), lp_last(lp));
    assert_null(lp_seek(lp, 80000));
    lp = lp_delete_range(lp, -30000, 40000);
    assert_int_equal(lp_count(lp), 50000);
    assert_true(lp_validate(lp, lp_bytes(lp), &count));
    lp_free(lp);
    lp_free(half);
}

// Walks all of what was taken for a listpack, both ways.
static void walk(const uint8_t *lp, uint32_t count)
{
    char scratch[24];
    size_t len;
    uint32_t n = 0;
    volatile uint8_t sum = 0;
    for (const uint8_t *p = lp_first(lp); p; p = lp_next(lp, p), n++) {
        const uint8_t *text = lp_text(p, scratch, &len);
        for (size_t i = 0; i < len; i++)
            sum = (uint8_t)(sum + text[i]);
    }
    assert_int_equal(n, count);
    for (const uint8_t *p = lp_last(lp); p; p = lp_prev(lp, p))
        n--;
    assert_int_equal(n, 0);
}

// Bytes that were tampered with, in memory of exactly their size, so that a sanitizer sees a read
// beyond.
static void test_hostile(void **state)
{
    (void)state;
    char word[300];
    unsigned taken = 0;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        words_state = seed;
        uint8_t *lp = lp_new(0);
        for (size_t i = below(6); i > 0; i--)
            lp = lp_append(lp, word, draw_word(word, sizeof(word)));
        for (int round = 0; round < 20; round++) {
            size_t len = lp_bytes(lp);
            if (below(4) == 0)
                len = below(len + 1);
            uint8_t *bad = malloc(len ? len : 1);
            memcpy(bad, lp, len);
            for (size_t i = below(4); i > 0 && len; i--)
                bad[below(len)] = below(2) ? (uint8_t)draw() : (uint8_t)(0xe0 + below(32));
            if (below(2) && len >= 4) {
                uint32_t said = (uint32_t)len;
                memcpy(bad, &said, sizeof(said));
            }
            uint32_t count;
            if (lp_validate(bad, len, &count)) {
                taken++;
                walk(bad, count);
            }
            free(bad);
        }
        lp_free(lp);
    }
    assert_true(taken > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
