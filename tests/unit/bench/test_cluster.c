// The slot map: replies of CLUSTER SLOTS and redirections, well-formed and hostile.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/cluster.h"
#include "common/resp_text.h"

static const struct endpoint asked = {.family = 4, .port = 7000, .addr = {10, 0, 0, 9}};
static struct cluster map, before;
static char error[256];

// Reads from memory of exactly this size, so that a sanitizer sees the first byte too far.
static bool read_bytes(const void *reply, size_t len)
{
    uint8_t *exact = malloc(len ? len : 1);
    memcpy(exact, reply, len);
    bool good = cluster_read(&map, exact, len, &asked, error, sizeof(error));
    free(exact);
    assert_int_equal(good, error[0] == 0);
    assert_null(strchr(error, '\n'));
    return good;
}

static bool read_text(const char *reply)
{
    return read_bytes(reply, strlen(reply));
}

static bool node_is(unsigned node, const char *text)
{
    char shown[ENDPOINT_TEXT_MAX];
    return node < map.n_nodes && strcmp(endpoint_format(&map.nodes[node], shown), text) == 0;
}

static bool resolves_known(const char *host, struct endpoint *node)
{
    if (strcmp(host, "known.example") != 0)
        return false;
    node->family = 4;
    memcpy(node->addr, (uint8_t[]){10, 1, 1, 1}, 4);
    return true;
}

// A node as Redis writes it: host, port, ID, metadata.
static void put_node(struct resp_text *t, const char *host, int port, const char *name,
                     const char *value)
{
    resp_open(t, '*');
    if (host)
        resp_put_string(t, host);
    else
        resp_put_null(t);
    resp_put_integer(t, port);
    resp_put_string(t, "07c37dfeb235213a872192d90877d0cd55635b91");
    resp_open(t, '%');
    if (name)
        resp_field_string(t, name, value);
    resp_close(t);
    resp_close(t);
}

static void put_range(struct resp_text *t, int first, int last, const char *host, int port)
{
    resp_open(t, '*');
    resp_put_integer(t, first);
    resp_put_integer(t, last);
    put_node(t, host, port, NULL, NULL);
    put_node(t, host, port + 1000, NULL, NULL); // a replica
    resp_close(t);
}

static struct resp_text whole_map(int resp)
{
    struct resp_text t = {.resp = resp};
    resp_open(&t, '*');
    put_range(&t, 0, 5460, "10.0.0.1", 7001);
    put_range(&t, 5461, 10922, "2001:db8::2", 7002);
    put_range(&t, 10923, 16382, "", 7003);
    put_range(&t, 16383, 16383, "10.0.0.1", 7001);
    resp_close(&t);
    return t;
}

static int start(void **state)
{
    (void)state;
    map = (struct cluster){0};
    return 0;
}

static void owners_are_read(void **state)
{
    (void)state;
    for (int resp = 2; resp <= 3; resp++) {
        map = (struct cluster){0};
        struct resp_text t = whole_map(resp);
        assert_true(read_bytes(t.data, t.len));
        assert_int_equal(map.n_nodes, 3);
        assert_true(node_is(map.owner[0], "10.0.0.1:7001"));
        assert_true(node_is(map.owner[5460], "10.0.0.1:7001"));
        assert_true(node_is(map.owner[5461], "[2001:db8::2]:7002"));
        assert_true(node_is(map.owner[10922], "[2001:db8::2]:7002"));
        assert_true(node_is(map.owner[10923], "10.0.0.9:7003"));
        assert_true(node_is(map.owner[16382], "10.0.0.9:7003"));
        assert_true(node_is(map.owner[16383], "10.0.0.1:7001"));
        resp_text_free(&t);
    }
}

static void nodes_keep_their_index(void **state)
{
    (void)state;
    struct resp_text t = whole_map(2);
    assert_true(read_bytes(t.data, t.len));
    resp_text_free(&t);
    assert_true(read_text("*1\r\n*3\r\n:10\r\n:11\r\n*2\r\n$8\r\n10.0.0.7\r\n:7007\r\n"));
    assert_int_equal(map.n_nodes, 4);
    assert_true(node_is(0, "10.0.0.1:7001"));
    assert_true(node_is(map.owner[10], "10.0.0.7:7007"));
    assert_int_equal(map.owner[9], CLUSTER_NOBODY);
    assert_int_equal(map.owner[16383], CLUSTER_NOBODY);
    assert_int_equal(cluster_node(&map, 9), 0);
    assert_int_equal(cluster_node(&map, 10), 3);
}

static bool read_one(int resp, const char *host, const char *name, const char *value)
{
    struct resp_text t = {.resp = resp};
    resp_open(&t, '*');
    resp_open(&t, '*');
    resp_put_integer(&t, 0);
    resp_put_integer(&t, 16383);
    put_node(&t, host, 7001, name, value);
    resp_close(&t);
    resp_close(&t);
    bool good = read_bytes(t.data, t.len);
    resp_text_free(&t);
    return good;
}

// What cluster-preferred-endpoint-type makes of a node.
static void hosts_may_be_names_or_missing(void **state)
{
    (void)state;
    static const struct {
        const char *host, *name, *value, *node;
    } cases[] = {
        {"10.0.0.1", "hostname", "a.example", "10.0.0.1:7001"},
        {"a.example", "ip", "10.0.0.2", "10.0.0.2:7001"},
        {"a.example", "ip", "2001:db8::7", "[2001:db8::7]:7001"},
        {"?", "ip", "10.0.0.3", "10.0.0.3:7001"},
        {"?", NULL, NULL, "10.0.0.9:7001"},
        {"", NULL, NULL, "10.0.0.9:7001"},
        {NULL, "ip", "10.0.0.3", "10.0.0.9:7001"}, // the address is not to be used
        {"known.example", NULL, NULL, "10.1.1.1:7001"},
        {"known.example", "ip", "", "10.1.1.1:7001"},
        {"::1", NULL, NULL, "[::1]:7001"},
    };
    for (int resp = 2; resp <= 3; resp++)
        for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            map = (struct cluster){.resolve = resolves_known};
            assert_true(read_one(resp, cases[i].host, cases[i].name, cases[i].value));
            assert_int_equal(map.n_nodes, 1);
            assert_true(node_is(0, cases[i].node));
        }
    map = (struct cluster){.resolve = resolves_known};
    assert_false(read_one(2, "other.example", NULL, NULL));
    assert_non_null(strstr(error, "other.example"));
    map.resolve = NULL;
    assert_false(read_one(2, "known.example", NULL, NULL));
    assert_non_null(strstr(error, "known.example"));
}

// A UNIX socket has no address that could stand for a missing one.
static void missing_hosts_need_an_address(void **state)
{
    (void)state;
    const char reply[] = "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$0\r\n\r\n:7001\r\n";
    const struct endpoint local = {.family = 0};
    assert_false(cluster_read(&map, (const uint8_t *)reply, sizeof(reply) - 1, &local, error,
                              sizeof(error)));
    assert_non_null(strstr(error, "-h"));
}

static void refusals_say_what_to_do(void **state)
{
    (void)state;
    assert_false(read_text("-ERR This instance has cluster support disabled\r\n"));
    assert_non_null(strstr(error, "cluster support disabled"));
    assert_non_null(strstr(error, "leave out --cluster"));
    assert_false(read_text("!11\r\nNOPERM\r\nno!\r\n"));
    assert_false(read_text("*0\r\n"));
    assert_non_null(strstr(error, "redis-cli --cluster create"));
}

static void nonsense_is_refused(void **state)
{
    (void)state;
#define NODE "*2\r\n$8\r\n10.0.0.1\r\n:7001\r\n"
    static const char *const bad[] = {
        "",
        "+OK\r\n",
        ":1\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "_\r\n",
        "HTTP/1.1 400 Bad Request\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n*-1\r\n",
        "*1\r\n*0\r\n",
        "*1\r\n*2\r\n:0\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:16384\r\n" NODE,
        "*1\r\n*3\r\n:-1\r\n:1\r\n" NODE,
        "*1\r\n*3\r\n:2\r\n:1\r\n" NODE,
        "*1\r\n*3\r\n:9223372036854775807\r\n:9223372036854775808\r\n" NODE,
        "*1\r\n*3\r\n$1\r\n0\r\n:1\r\n" NODE,
        "*1\r\n*3\r\n:0\r\n:1\r\n" NODE "x",
        "*1\r\n*3\r\n:0\r\n:1\r\n$1\r\nx\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*1\r\n$8\r\n10.0.0.1\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n:1\r\n:7001\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$8\r\n10.0.0.1\r\n:0\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$8\r\n10.0.0.1\r\n:65536\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$8\r\n10.0.0.1\r\n$4\r\n7001\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$8\r\n10.0.0\n1\r\n:7001\r\n",
        "*4294967295\r\n",
        "*1\r\n*4294967295\r\n:0\r\n",
        "$4294967295\r\n",
    };
    struct resp_text t = whole_map(2);
    assert_true(read_bytes(t.data, t.len));
    resp_text_free(&t);
    before = map;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(read_text(bad[i]));
        assert_true(strlen(error) > 10);
        assert_memory_equal(&map, &before, sizeof(map));
    }
    static const char terminated[] = "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$3\r\n::\0\r\n:7001\r\n";
    assert_false(read_bytes(terminated, sizeof(terminated) - 1));
    char deep[400] = "";
    for (unsigned i = 0; i < 60; i++)
        strcat(deep, "*1\r\n");
    assert_false(read_text(deep));
}

static void too_many_nodes_are_refused(void **state)
{
    (void)state;
    for (int n = CLUSTER_NODES_MAX; n <= CLUSTER_NODES_MAX + 1; n++) {
        map = (struct cluster){0};
        struct resp_text t = {.resp = 2};
        resp_open(&t, '*');
        for (int i = 0; i < n; i++)
            put_range(&t, i, i, "10.0.0.1", 7000 + i);
        resp_close(&t);
        assert_int_equal(read_bytes(t.data, t.len), n == CLUSTER_NODES_MAX);
        resp_text_free(&t);
    }
    assert_non_null(strstr(error, "256"));
}

// A reply that is cut anywhere is no reply; one with a wrong byte never reads or writes astray.
static void cut_and_bent_replies_do_no_harm(void **state)
{
    (void)state;
    for (int resp = 2; resp <= 3; resp++) {
        map = (struct cluster){.resolve = resolves_known};
        struct resp_text t = whole_map(resp);
        for (size_t len = 0; len < t.len; len++) {
            assert_false(read_bytes(t.data, len));
            assert_int_equal(map.n_nodes, 0);
        }
        static const char odd[] = {0, '\r', '\n', '*', '$', ':', '-', '9', (char)0xff};
        for (size_t at = 0; at < t.len; at++)
            for (unsigned i = 0; i < sizeof(odd); i++) {
                char good = t.data[at];
                t.data[at] = odd[i];
                if (read_bytes(t.data, t.len))
                    for (unsigned slot = 0; slot < SLOTS; slot += 257)
                        assert_true(map.owner[slot] < map.n_nodes ||
                                    map.owner[slot] == CLUSTER_NOBODY);
                t.data[at] = good;
            }
        resp_text_free(&t);
    }
}

static enum cluster_redirect redirect(const char *line, unsigned *node)
{
    char *exact = strdup(line);
    enum cluster_redirect kind = cluster_redirect(&map, exact, &asked, node);
    free(exact);
    return kind;
}

static void moved_changes_the_map(void **state)
{
    (void)state;
    struct resp_text t = whole_map(2);
    assert_true(read_bytes(t.data, t.len));
    resp_text_free(&t);
    map.resolve = resolves_known;
    static const struct {
        const char *line, *node;
        unsigned slot, nodes;
    } cases[] = {
        {"-MOVED 0 2001:db8::2:7002", "[2001:db8::2]:7002", 0, 3},
        {"-MOVED 3999 127.0.0.1:6381", "127.0.0.1:6381", 3999, 4},
        {"-MOVED 3999 127.0.0.1:6382", "127.0.0.1:6382", 3999, 5},
        {"-MOVED 16383 [2001:db8::9]:65535", "[2001:db8::9]:65535", 16383, 6},
        {"-MOVED 7 :7009", "10.0.0.9:7009", 7, 7},
        {"-MOVED 8 ?:7009", "10.0.0.9:7009", 8, 7},
        {"-MOVED 9 known.example:1", "10.1.1.1:1", 9, 8},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned node = 999;
        assert_int_equal(redirect(cases[i].line, &node), CLUSTER_MOVED);
        assert_true(node_is(node, cases[i].node));
        assert_int_equal(map.owner[cases[i].slot], node);
        assert_int_equal(map.n_nodes, cases[i].nodes);
    }
    assert_true(node_is(map.owner[1], "10.0.0.1:7001"));
}

static void ask_leaves_the_map(void **state)
{
    (void)state;
    struct resp_text t = whole_map(2);
    assert_true(read_bytes(t.data, t.len));
    resp_text_free(&t);
    before = map;
    unsigned node;
    assert_int_equal(redirect("-ASK 0 2001:db8::2:7002", &node), CLUSTER_ASK);
    assert_true(node_is(node, "[2001:db8::2]:7002"));
    assert_memory_equal(&map, &before, sizeof(map));
    assert_int_equal(redirect("-ASK 0 10.0.0.1:7444", &node), CLUSTER_ASK);
    assert_true(node_is(node, "10.0.0.1:7444"));
    assert_int_equal(map.n_nodes, 4);
    assert_memory_equal(map.owner, before.owner, sizeof(map.owner));
}

static void other_errors_are_no_redirections(void **state)
{
    (void)state;
    static const char *const others[] = {
        "",
        "-",
        "-ERR unknown command",
        "+MOVED 1 10.0.0.1:7001",
        "MOVED 1 10.0.0.1:7001",
        "-MOVED",
        "-MOVED ",
        "-MOVED 1",
        "-MOVED 1 ",
        "-MOVED 1 10.0.0.1",
        "-MOVED 1 10.0.0.1:",
        "-MOVED 1 10.0.0.1:0",
        "-MOVED 1 10.0.0.1:65536",
        "-MOVED 1 10.0.0.1:99999999999999999999",
        "-MOVED 1 10.0.0.1:7001 ",
        "-MOVED 1 10.0.0.1:70x1",
        "-MOVED 1 10.0.0.1:-7001",
        "-MOVED 1  10.0.0.1:7001",
        "-MOVED 1 10.0.0.1 10.0.0.2:7001",
        "-MOVED 1 unknown.example:7001",
        "-MOVED 1 300.0.0.1:7001",
        "-MOVED 1 [10:7001",
        "-MOVED 16384 10.0.0.1:7001",
        "-MOVED 99999999999999999999 10.0.0.1:7001",
        "-MOVED -1 10.0.0.1:7001",
        "-MOVED x 10.0.0.1:7001",
        "-MOVED  10.0.0.1:7001",
        "-MOVEDX 1 10.0.0.1:7001",
        "-ASKING 1 10.0.0.1:7001",
        "-ASK",
        "-TRYAGAIN Multiple keys request during rehashing of slot",
        "-CLUSTERDOWN Hash slot not served",
    };
    map.resolve = resolves_known;
    before = map;
    for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        unsigned node = 999;
        assert_int_equal(redirect(others[i], &node), CLUSTER_NONE);
        assert_memory_equal(&map, &before, sizeof(map));
    }
    char longer[CLUSTER_HOST_MAX + 64] = "-MOVED 1 ";
    memset(longer + 9, 'a', CLUSTER_HOST_MAX);
    strcpy(longer + 9 + CLUSTER_HOST_MAX, ":7001");
    unsigned node;
    assert_int_equal(redirect(longer, &node), CLUSTER_NONE);
}

// Cut within the port it names another port; cut before, it is no redirection.
static void cut_redirections_do_no_harm(void **state)
{
    (void)state;
    static const char line[] = "-MOVED 3999 [2001:db8::9]:6381";
    for (size_t len = 0; len < sizeof(line); len++) {
        char cut[sizeof(line)] = "";
        memcpy(cut, line, len);
        unsigned node;
        bool whole = len > strlen("-MOVED 3999 [2001:db8::9]:");
        assert_int_equal(redirect(cut, &node), whole ? CLUSTER_MOVED : CLUSTER_NONE);
    }
}

static void a_flood_of_nodes_is_bounded(void **state)
{
    (void)state;
    unsigned node, followed = 0;
    for (unsigned port = 1; port <= 2 * CLUSTER_NODES_MAX; port++) {
        char line[64];
        snprintf(line, sizeof(line), "-MOVED 5 10.0.0.1:%u", port);
        followed += redirect(line, &node) == CLUSTER_MOVED;
    }
    assert_int_equal(followed, CLUSTER_NODES_MAX);
    assert_int_equal(map.n_nodes, CLUSTER_NODES_MAX);
    assert_int_equal(map.owner[5], CLUSTER_NODES_MAX - 1);
    assert_int_equal(redirect("-MOVED 6 10.0.0.1:1", &node), CLUSTER_MOVED);
    assert_int_equal(node, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(owners_are_read, start),
        cmocka_unit_test_setup(nodes_keep_their_index, start),
        cmocka_unit_test_setup(hosts_may_be_names_or_missing, start),
        cmocka_unit_test_setup(missing_hosts_need_an_address, start),
        cmocka_unit_test_setup(refusals_say_what_to_do, start),
        cmocka_unit_test_setup(nonsense_is_refused, start),
        cmocka_unit_test_setup(too_many_nodes_are_refused, start),
        cmocka_unit_test_setup(cut_and_bent_replies_do_no_harm, start),
        cmocka_unit_test_setup(moved_changes_the_map, start),
        cmocka_unit_test_setup(ask_leaves_the_map, start),
        cmocka_unit_test_setup(other_errors_are_no_redirections, start),
        cmocka_unit_test_setup(cut_redirections_do_no_harm, start),
        cmocka_unit_test_setup(a_flood_of_nodes_is_bounded, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
