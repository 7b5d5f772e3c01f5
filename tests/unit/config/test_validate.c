// Combinations of options, CPU lists, warnings at start.
#include "config/config.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char error[512];

static struct config *load(const char *text)
{
    struct config *c = config_new();
    if (config_load_text(c, text, "t.conf", error, sizeof(error)))
        fail_msg("%s", error);
    return c;
}

#define AF_XDP "transport dpdk\nnic-device net_af_xdp0,iface=veth0\n"
#define TAP "transport dpdk\nnic-device net_tap0,iface=plx0\n"

static void sound(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "cores auto\n",
        "port 0\nunixsocket /tmp/s\n",
        "port 0\ntls-port 6380\ntls-cert-file a\ntls-key-file b\n",
        TAP "nic-address 10.9.0.1/24\nunixsocket /tmp/s\n",
        "cluster-enabled yes\nappendonly yes\n",
        "maxmemory 1\n",
        "nic-mtu 0\nnic-device \"\"\n", // the defaults in so many words
        AF_XDP,                         // the address is the kernel interface's
        TAP "nic-address 10.9.0.1/24\nnic-gateway 10.9.0.254\nnic-mtu 1500\n",
        TAP "nic-address 10.9.0.1/24 fd00::1/64\nnic-gateway fd00::ff\n",
        TAP "nic-address 10.9.0.1/24 fd00::1/64\nnic-gateway fe80::1 10.9.0.254\n",
        TAP "nic-address fd00::1/64\nnic-neighbour fd00::2=02:00:00:00:00:01\n",
        TAP "nic-address fd00::1/64\nnic-mtu 1280\nnic-duplicate-probes 0\n",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct config *c = load(texts[i]);
        if (config_validate(c, error, sizeof(error)))
            fail_msg("%s: %s", texts[i], error);
        config_free(c);
    }
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"transport dpdk\n", "needs a device"},
        {TAP, "needs an address"},
        {TAP "nic-address 10.9.0.1\n", "no address with a prefix"},
        {TAP "nic-address 10.9.0.1/33\n", "no address with a prefix"},
        {TAP "nic-address 10.9.0.256/24\n", "no address with a prefix"},
        {TAP "nic-address 127.0.0.1/8\n", "'nic-address 127.0.0.1/8' is no address that a host"},
        {TAP "nic-address 224.0.0.1/24\n", "no address that a host can have"},
        {TAP "nic-address 0.0.0.1/24\n", "no address that a host can have"},
        {TAP "nic-address ::1/128\n", "no address that a host can have"},
        {TAP "nic-address ff02::1/64\n", "no address that a host can have"},
        {TAP "nic-address ::ffff:10.9.0.1/64\n", "no address that a host can have"},
        {TAP "nic-address 10.9.0.0/24\n", "stands for the whole network"},
        {TAP "nic-address 10.9.0.255/24\n", "stands for the whole network"},
        {TAP "nic-address 10.9.0.3/30\n", "stands for the whole network"},
        {TAP "nic-address 10.9.0.1/24\nnic-gateway 10.9.0.1\n", "the server's own"},
        {TAP "nic-address fd00::1/64\nnic-gateway fd00:0::1\n", "the server's own"},
        {TAP "nic-address 10.9.0.1/24\nnic-rx-frames 7\n", "'nic-rx-frames 7' is too small"},
        {TAP "nic-address 10.9.0.1/24\nnic-tx-frames 1023\n", "'nic-tx-frames 1023' is too small"},
        {TAP "nic-address 10.9.0.1/24 10.9.0.1/24\n", "twice"},
        {TAP "nic-address 10.9.0.1/24\nnic-gateway 10.9.1.1\n", "outside the network"},
        {TAP "nic-address 10.9.0.1/24\nnic-gateway router\n", "is no address"},
        {TAP "nic-address 10.9.0.1/24\nnic-gateway fe80::1\n", "outside the network"},
        {TAP "nic-address 10.9.0.1/24\nnic-gateway 10.9.0.2 10.9.0.3\n", "one of each at most"},
        {TAP "nic-address 10.9.0.1/24\nnic-neighbour 10.9.0.2\n", "no address with a hardware"},
        {TAP "nic-address 10.9.0.1/24\nnic-neighbour x=02:00:00:00:00:01\n", "no address with"},
        {TAP "nic-address 10.9.0.1/24\nnic-neighbour 10.9.0.2=02:00:00:00:00\n", "no address"},
        {TAP "nic-address 10.9.0.1/24\nnic-neighbour 10.9.0.2=03:00:00:00:00:01\n", "no address"},
        {TAP "nic-address fd00::1/129\n", "no address with a prefix"},
        {TAP "nic-address fd00::1/64\nnic-mtu 1279\n", "too small for IPv6"},
        {TAP "nic-address 10.9.0.1/24\nnic-mtu 100\n", "too small"},
        {"transport dpdk\nnic-device a a\n", "'nic-device' names a twice"},
        {"nic-device net_tap0\n", "belongs to 'transport dpdk'"},
        {"nic-vlan 7\n", "belongs to 'transport dpdk'"},
        {"nic-duplicate-probes 0\n", "belongs to 'transport dpdk'"},
        {"nic-trust-partial-checksums yes\n", "belongs to 'transport dpdk'"},
        {"port 0\n", "nothing to listen on"},
        {"tls-port 6379\n", "'tls-port' and 'port' are both 6379"},
        {"tls-port 6380\n", "needs a certificate"},
        {"cores 0,0\n", "names CPU 0 twice"},
        {"cores 0-1,1\n", "names CPU 1 twice"},
        {"cores 9999\n", "CPU 9999, which this process may not use"},
        {"cores 0-999\n", "more than 64 CPUs"},
        {"cores \"\"\n", "no list of CPUs"},
        {"cores 1-0\n", "no list of CPUs"},
        {"cores 0,\n", "no list of CPUs"},
        {"cores ,0\n", "no list of CPUs"},
        {"cores 0-\n", "no list of CPUs"},
        {"cores 0x\n", "no list of CPUs"},
        {"cores 123456\n", "no list of CPUs"},
        {"cluster-enabled yes\nreplicaof a 1\n", "cannot stand beside"},
        {"cluster-enabled yes\nport 60000\n", "no room for the cluster bus"},
        {"aclfile a\nuser x on\n", "cannot stand beside 'aclfile'"},
        {"run-as-user no-such-account\n", "names no account"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config *c = load(cases[i].text);
        if (!config_validate(c, error, sizeof(error)))
            fail_msg("accepted: %s", cases[i].text);
        if (!strstr(error, cases[i].part))
            fail_msg("%s: %s", cases[i].text, error);
        assert_null(strchr(error, '\n'));
        config_free(c);
    }
}

static void long_paths(void **state)
{
    (void)state;
    char text[400], path[200];
    memset(path, 'a', sizeof(path) - 1);
    path[sizeof(path) - 1] = 0;
    static const char *const names[] = {"unixsocket", "runtime-dir"};
    for (unsigned i = 0; i < 2; i++) {
        snprintf(text, sizeof(text), "%s /%s\n", names[i], path);
        struct config *c = load(text);
        assert_int_equal(config_validate(c, error, sizeof(error)), -1);
        assert_non_null(strstr(error, names[i]));
        config_free(c);
    }
}

static void cpu_lists(void **state)
{
    (void)state;
    cpu_set_t allowed;
    int cpus[CONFIG_CORES_MAX], first = -1;
    char text[64];
    assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
    for (int i = CPU_SETSIZE - 1; i >= 0; i--)
        first = CPU_ISSET(i, &allowed) ? i : first;
    snprintf(text, sizeof(text), "cores %d\n", first);
    struct config *c = load(text);
    assert_int_equal(config_validate(c, error, sizeof(error)), 0);
    assert_int_equal(config_cores(c, cpus), 1);
    assert_int_equal(cpus[0], first);
    config_free(c);
    c = load("cores 5,0-2,7\n");
    static const int expected[] = {5, 0, 1, 2, 7};
    assert_int_equal(config_cores(c, cpus), 5);
    assert_memory_equal(cpus, expected, sizeof(expected));
    config_free(c);
    c = load("cores AUTO\n");
    assert_int_equal(config_cores(c, cpus), 0);
    config_free(c);
}

struct warnings {
    unsigned n;
    char text[4096];
};

static void note(void *context, const char *line)
{
    struct warnings *w = context;
    w->n++;
    strcat(strcat(w->text, line), "\n");
}

static void warnings(void **state)
{
    (void)state;
    struct warnings w = {0};
    struct config *c = load("io-threads 1\nappendonly no\nport 7\n"); // nothing but defaults
    config_warn(c, note, &w);
    assert_int_equal(w.n, 0);
    config_free(c);
    c = load("io-threads 4\nappendonly yes\nmaxmemory 100\nloadmodule /x.so\nuser a on\nbind \"\"\n"
             "tcp-congestion-control dctcp\n");
    config_warn(c, note, &w);
    static const char *const parts[] = {"'io-threads' is accepted. Has no effect: see cores.",
                                        "'appendonly'",
                                        "'maxmemory'",
                                        "'loadmodule'",
                                        "'tcp-congestion-control'",
                                        "'bind'"};
    for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (!strstr(w.text, parts[i]))
            fail_msg("no %s in:\n%s", parts[i], w.text);
    }
    assert_int_equal(w.n, 6);
    config_free(c);
    w = (struct warnings){0};
    c = load(TAP "nic-address 10.9.0.1/24 10.9.0.2/24\nbind 10.9.0.1\n");
    config_warn(c, note, &w);
    assert_int_equal(w.n, 1);
    assert_non_null(strstr(w.text, "listens on all of 'nic-address'"));
    config_free(c);
    w = (struct warnings){0};
    c = load(TAP "nic-address 10.9.0.1/24\nbind * -::*\n"); // all of them, in so many words
    config_warn(c, note, &w);
    assert_int_equal(w.n, 0);
    config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound),     cmocka_unit_test(refused),  cmocka_unit_test(long_paths),
        cmocka_unit_test(cpu_lists), cmocka_unit_test(warnings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
