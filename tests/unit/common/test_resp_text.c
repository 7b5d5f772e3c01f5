// RESP of the control plane and its tools: written and read back, cut at every byte, and garbage.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/resp_text.h"

static void put_all(struct resp_text *t)
{
    resp_open(t, '%');
    resp_field_integer(t, "number", -12);
    resp_field_string(t, "text", "a\r\nb");
    resp_field_bool(t, "yes", true);
    resp_field_double(t, "part", 0.25);
    resp_put_string(t, "nothing");
    resp_put_null(t);
    resp_field_open(t, "list", '*');
    resp_put_status(t, "OK");
    resp_put_error(t, "ERR %s", "in\r\nside");
    resp_open(t, '*');
    resp_close(t);
    resp_close(t);
    resp_close(t);
}

static void test_written_bytes(void **state)
{
    (void)state;
    struct resp_text t = {.resp = 3};
    put_all(&t);
    static const char three[] = "%6\r\n$6\r\nnumber\r\n:-12\r\n$4\r\ntext\r\n$4\r\na\r\nb\r\n"
                                "$3\r\nyes\r\n#t\r\n$4\r\npart\r\n,0.25\r\n$7\r\nnothing\r\n_\r\n"
                                "$4\r\nlist\r\n*3\r\n+OK\r\n-ERR in  side\r\n*0\r\n";
    assert_int_equal(t.len, sizeof(three) - 1);
    assert_memory_equal(t.data, three, t.len);
    resp_text_free(&t);
    t.resp = 2;
    put_all(&t);
    static const char two[] = "*12\r\n$6\r\nnumber\r\n:-12\r\n$4\r\ntext\r\n$4\r\na\r\nb\r\n"
                              "$3\r\nyes\r\n:1\r\n$4\r\npart\r\n$4\r\n0.25\r\n$7\r\nnothing\r\n"
                              "$-1\r\n$4\r\nlist\r\n*3\r\n+OK\r\n-ERR in  side\r\n*0\r\n";
    assert_int_equal(t.len, sizeof(two) - 1);
    assert_memory_equal(t.data, two, t.len);
    resp_text_free(&t);
}

static void test_read_back(void **state)
{
    (void)state;
    struct resp_text t = {.resp = 3}, again = {.resp = 3};
    put_all(&t);
    struct resp_value *v = resp_value_read(t.data, t.len);
    assert_non_null(v);
    assert_int_equal(resp_member_integer(v, "number"), -12);
    assert_string_equal(resp_member_string(v, "text"), "a\r\nb");
    assert_int_equal(resp_member_integer(v, "yes"), 1);
    assert_true(resp_member_double(v, "part") == 0.25);
    assert_true(resp_member(v, "nothing")->null);
    assert_int_equal(resp_member(v, "list")->n, 3);
    assert_null(resp_member(v, "absent"));
    assert_null(resp_member(NULL, "absent"));
    resp_put_value(&again, v);
    assert_int_equal(again.len, t.len);
    assert_memory_equal(again.data, t.data, t.len);
    resp_value_free(v);
    assert_null(resp_value_read(t.data, t.len - 1));
    resp_text_free(&t);
    resp_text_free(&again);
}

// The end is found at the last byte and not before, however the bytes come.
static void test_scan_every_cut(void **state)
{
    (void)state;
    struct resp_text t = {.resp = 3};
    put_all(&t);
    for (size_t step = 1; step < 20; step++) {
        struct resp_scan scan = {0};
        bool bad;
        for (size_t len = 0; len < t.len; len += step)
            assert_false(resp_scan(&scan, t.data, len, &bad) || bad);
        assert_true(resp_scan(&scan, t.data, t.len, &bad));
        assert_int_equal(scan.at, t.len);
    }
    resp_text_free(&t);
}

static void test_requests(void **state)
{
    (void)state;
    struct resp_word words[4];
    unsigned n;
    const char *error;
    static const char request[] = "*2\r\n$4\r\nECHO\r\n$3\r\na\r\n\r\nPING  x \r\n\n";
    const char *at = request;
    for (size_t len = 0; len < 23; len++)
        assert_int_equal(resp_request(request, len, words, 4, &n, &error), 0);
    assert_int_equal(resp_request(at, strlen(at), words, 4, &n, &error), 23);
    assert_int_equal(n, 2);
    assert_memory_equal(words[1].ptr, "a\r\n", 3);
    at += 23;
    assert_int_equal(resp_request(at, strlen(at), words, 4, &n, &error), 10);
    assert_int_equal(n, 2);
    assert_memory_equal(words[1].ptr, "x", 1);
    at += 10;
    assert_int_equal(resp_request(at, strlen(at), words, 4, &n, &error), 1);
    assert_int_equal(n, 0);
    static const char *const bad[] = {"*5\r\n",
                                      "*x\r\n",
                                      "*1\r\n:4\r\n",
                                      "*1\r\n$-1\r\n",
                                      "*1\r\n$99999999999\r\n",
                                      "*1\r\n$1\r\nabc\r\n",
                                      "a b c d e\r\n"};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(resp_request(bad[i], strlen(bad[i]), words, 4, &n, &error), -1);
}

// Whatever the bytes: an end within them, or none; no access beyond them (the sanitizers look).
static void test_garbage(void **state)
{
    (void)state;
    static const char alphabet[] = "*$%~>+-:,_#!=(\r\n0123456789ab";
    unsigned seed = 3;
    for (unsigned round = 0; round < 200000; round++) {
        size_t len = (size_t)rand_r(&seed) % 40;
        char *bytes = malloc(len + 1);
        for (size_t i = 0; i < len; i++)
            bytes[i] = rand_r(&seed) % 50 ? alphabet[(size_t)rand_r(&seed) % (sizeof(alphabet) - 1)]
                                          : (char)rand_r(&seed);
        struct resp_scan scan = {0};
        bool bad;
        if (resp_scan(&scan, bytes, len, &bad)) {
            assert_true(scan.at <= len && !bad);
            resp_value_free(resp_value_read(bytes, scan.at));
        }
        struct resp_word words[8];
        unsigned n;
        const char *error;
        ssize_t used = resp_request(bytes, len, words, 8, &n, &error);
        assert_true(used >= -1 && used <= (ssize_t)len);
        for (unsigned i = 0; used > 0 && i < n; i++)
            assert_true(words[i].ptr >= bytes && words[i].ptr + words[i].len <= bytes + len);
        free(bytes);
    }
}

static void test_depth(void **state)
{
    (void)state;
    char deep[4 * 1000 + 4];
    for (unsigned i = 0; i < 1000; i++)
        memcpy(deep + 4 * i, "*1\r\n", 4);
    memcpy(deep + 4000, ":1\r\n", 4);
    struct resp_scan scan = {0};
    bool bad;
    assert_true(resp_scan(&scan, deep, sizeof(deep), &bad));
    assert_null(resp_value_read(deep, sizeof(deep)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_bytes),  cmocka_unit_test(test_read_back),
        cmocka_unit_test(test_scan_every_cut), cmocka_unit_test(test_requests),
        cmocka_unit_test(test_garbage),        cmocka_unit_test(test_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
