// Ports of DPDK. Its environment starts once in a process, so each case runs in a child of its own,
// with devices in a network namespace that dies with it. What needs root is skipped without it.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "drivers/io.h"
#include "drivers/nic.h"

enum {
    PATIENCE_S = 150,
    BURST = 32,
    WINDOW = 24,
    MEMIF_WINDOW = 512,
    MEMIF_FRAMES = 50000,
    ETHERTYPE = 0x88b5,
    KEPT_MAX = 4096
};

// DPDK's AF_XDP driver forgets a small structure of libxdp when it closes; under the address
// sanitizer that is not our leak.
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:xsk_umem__create\n";
}

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                \
        }                                                                           \
    } while (0)

// Runs `body` in a child and expects it to succeed.
static void in_child(void (*body)(const char *), const char *argument)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(PATIENCE_S);
        body(argument);
        exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static struct nic *open_nic(const char *device, int huge, unsigned mtu, char *error, size_t size)
{
    char name[32];
    snprintf(name, sizeof(name), "pollux-test-%d", (int)getpid());
    struct nic_options o = {.devices = {device},
                            .n_devices = 1,
                            .queues = 1,
                            .mtu = mtu,
                            .huge_pages = huge,
                            .name = name};
    return nic_open(&o, error, size);
}

static struct nic *must_open(const char *device, int huge)
{
    char error[512] = "";
    struct nic *nic = open_nic(device, huge, 0, error, sizeof(error));
    if (!nic) {
        fprintf(stderr, "%s\n", error);
        exit(1);
    }
    CHECK(nic_info(nic)->queues == 1);
    CHECK(nic_port(nic, 0) && !nic_port(nic, 1));
    CHECK(nic_info(nic)->huge_pages == (huge == NIC_HUGE_YES));
    // Whatever happens from here on, no file of DPDK is left behind.
    char path[64];
    snprintf(path, sizeof(path), "/var/run/dpdk/pollux-test-%d", (int)getpid());
    CHECK(access(path, F_OK) < 0);
    return nic;
}

// --- the echoing core
// ------------------------------------------------------------------------------

static struct {
    struct frame *kept[KEPT_MAX]; // as a stack that waits for acknowledgements
    unsigned n_kept;
    unsigned long echoed;
} echo;

// Sends back what arrives, with a reference kept until the port has let go of it.
static unsigned echo_step(struct port *port)
{
    struct frame *in[BURST], *out[BURST];
    struct frame_pool *pool = port_pool(port);
    unsigned n = port_rx(port, in, BURST), k = 0;
    for (unsigned i = 0; i < n; i++) {
        if (in[i]->data[12] != ETHERTYPE >> 8 || in[i]->data[13] != (ETHERTYPE & 0xff))
            continue; // the kernel's neighbour discovery
        CHECK(pool->alloc(pool, &out[k], 1) == 1);
        struct frame *f = out[k++];
        CHECK(f->pool == pool && f->data == f->buffer + pool->headroom);
        CHECK(f->len == 0 && f->flags == 0 && in[i]->len <= pool->data_size);
        memcpy(f->data, in[i]->data, in[i]->len);
        memcpy(f->data, in[i]->data + 6, 6);
        memcpy(f->data + 6, in[i]->data, 6);
        f->len = in[i]->len;
        f->flags = FRAME_KEEP;
    }
    port_release_rx(port, in, n);
    for (unsigned sent = 0; sent < k;)
        sent += port_tx(port, out + sent, k - sent);
    for (unsigned i = 0; i < k; i++) {
        CHECK(echo.n_kept < KEPT_MAX);
        echo.kept[echo.n_kept++] = out[i];
    }
    echo.echoed += k;
    for (unsigned i = 0; i < echo.n_kept;) {
        if (!pool->exclusive(echo.kept[i])) {
            i++;
            continue;
        }
        pool->release(pool, &echo.kept[i], 1);
        echo.kept[i] = echo.kept[--echo.n_kept];
    }
    return n;
}

static void check_pools(struct port *port, bool rx_full)
{
    struct port_stats s;
    port_stats(port, &s);
    CHECK(s.tx_pool_free == s.tx_pool_size);
    CHECK(!rx_full || s.rx_pool_free == s.rx_pool_size);
    CHECK(s.rx_errors == 0 && s.rx_no_buffer == 0);
}

// --- the frames of the test
// ------------------------------------------------------------------------

static uint32_t frame_length(uint32_t number)
{
    return 60 + number * 7919 % 1400;
}

static uint32_t frame_make(uint8_t *p, uint32_t number, const uint8_t to[6])
{
    uint32_t len = frame_length(number);
    memcpy(p, to, 6);
    memset(p + 6, 2, 6);
    p[12] = ETHERTYPE >> 8;
    p[13] = ETHERTYPE & 0xff;
    memcpy(p + 14, &number, 4);
    for (uint32_t i = 18; i < len; i++)
        p[i] = (uint8_t)(number + i);
    return len;
}

static bool frame_is_ours(const uint8_t *p, uint32_t len)
{
    return len >= 60 && p[12] == ETHERTYPE >> 8 && p[13] == (ETHERTYPE & 0xff);
}

static uint32_t frame_check(const uint8_t *p, uint32_t len)
{
    uint32_t number;
    memcpy(&number, p + 14, 4);
    CHECK(len == frame_length(number));
    for (uint32_t i = 18; i < len; i++)
        CHECK(p[i] == (uint8_t)(number + i));
    return number;
}

// --- memif
// -------------------------------------------------------------------------------------------

static char socket_path[64];

static void memif_echo(int huge, volatile int *stop)
{
    char device[160];
    snprintf(device, sizeof(device), "net_memif0,role=server,id=0,socket=%s,socket-abstract=no",
             socket_path);
    struct nic *nic = must_open(device, huge);
    struct port *port = nic_port(nic, 0);
    CHECK(port_attach(port) == 0);
    CHECK(port_wait_fd(port) == -1);
    while (!*stop)
        if (echo_step(port) == 0)
            sched_yield();
    CHECK(echo.n_kept == 0 && echo.echoed > 0);
    port_detach(port);
    check_pools(port, true);
    nic_close(nic);
    exit(0);
}

static volatile int stopped;

static void on_stop(int number)
{
    (void)number;
    stopped = 1;
}

static void memif_drive(struct port *port, uint32_t total)
{
    static const uint8_t to[6] = {2, 2, 2, 2, 2, 2};
    struct frame_pool *pool = port_pool(port);
    uint32_t sent = 0, got = 0;
    while (got < total) {
        struct frame *f[BURST];
        while (sent < total && sent - got < MEMIF_WINDOW) {
            CHECK(pool->alloc(pool, f, 1) == 1);
            f[0]->len = frame_make(f[0]->data, sent, to);
            if (port_tx(port, f, 1) == 0) { // the peer is not there yet, or its ring is full
                pool->release(pool, f, 1);
                sched_yield();
                break;
            }
            sent++;
        }
        unsigned n = port_rx(port, f, BURST);
        for (unsigned i = 0; i < n; i++)
            CHECK(frame_check(f[i]->data, f[i]->len) == got++);
        port_release_rx(port, f, n);
        if (n == 0)
            sched_yield();
    }
}

static void memif_pair(const char *pages)
{
    int huge = strcmp(pages, "huge") == 0 ? NIC_HUGE_YES : NIC_HUGE_NO;
    snprintf(socket_path, sizeof(socket_path), "/tmp/pollux-test-%d.memif", (int)getpid());
    signal(SIGUSR1, on_stop);
    pid_t server = fork();
    CHECK(server >= 0);
    if (server == 0) {
        alarm(PATIENCE_S);
        memif_echo(huge, &stopped);
    }
    struct stat st;
    int status = 0;
    while (stat(socket_path, &st) < 0) {
        CHECK(waitpid(server, &status, WNOHANG) == 0);
        usleep(1000);
    }
    char device[160];
    snprintf(device, sizeof(device), "net_memif0,role=client,id=0,socket=%s,socket-abstract=no",
             socket_path);
    struct nic *nic = must_open(device, huge);
    struct port *port = nic_port(nic, 0);
    CHECK(port_attach(port) == 0);
    memif_drive(port, MEMIF_FRAMES);
    struct port_stats s;
    port_stats(port, &s);
    CHECK(s.link_up && s.rx_frames == MEMIF_FRAMES && s.tx_frames == MEMIF_FRAMES);
    CHECK(s.rx_bytes == s.tx_bytes);
    port_detach(port);
    check_pools(port, true);
    nic_close(nic);
    kill(server, SIGUSR1);
    CHECK(waitpid(server, &status, 0) == server);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(stat(socket_path, &st) < 0); // removed
}

static void test_memif(void **state)
{
    (void)state;
    in_child(memif_pair, "ordinary");
}

// --- a kernel interface as the peer
// --------------------------------------------------------------------

static void run(const char *command)
{
    int status = system(command);
    if (status != 0)
        fprintf(stderr, "%s: %d\n", command, status);
    CHECK(status == 0);
}

static int raw_socket(const char *iface)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETHERTYPE));
    CHECK(fd >= 0);
    struct sockaddr_ll a = {.sll_family = AF_PACKET,
                            .sll_protocol = htons(ETHERTYPE),
                            .sll_ifindex = (int)if_nametoindex(iface)};
    CHECK(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
    return fd;
}

// Frames from a kernel interface to the port and back; the port's core sleeps when it has nothing
// to do, and its descriptor must wake it.
static void kernel_drive(struct nic *nic, const char *iface, uint32_t total)
{
    char error[256];
    struct port *port = nic_port(nic, 0);
    CHECK(port_attach(port) == 0);
    struct io *io = io_create(64, error, sizeof(error));
    CHECK(io && port_wait_fd(port) >= 0 && io_watch(io, port_wait_fd(port)) == 0);
    int fd = raw_socket(iface);
    uint32_t sent = 0, got = 0;
    unsigned asleep = 0;
    while (got < total) {
        uint8_t bytes[2048];
        while (sent < total && sent - got < WINDOW) {
            uint32_t len = frame_make(bytes, sent, nic_info(nic)->mac);
            if (send(fd, bytes, len, 0) < 0)
                break;
            sent++;
        }
        if (echo_step(port) == 0)
            asleep += io_wait(io, 10 * 1000 * 1000) != 0;
        struct sockaddr_ll from;
        socklen_t size = sizeof(from);
        for (;;) {
            ssize_t n = recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &size);
            if (n < 0)
                break;
            // Our own on their way out are shown too.
            if (from.sll_pkttype != PACKET_OUTGOING && frame_is_ours(bytes, (uint32_t)n))
                CHECK(frame_check(bytes, (uint32_t)n) == got++);
        }
    }
    CHECK(echo.n_kept == 0 && echo.echoed == total);
    close(fd);
    io_destroy(io);
    port_detach(port);
    check_pools(port, false);
}

static uint32_t sum16(const uint8_t *p, size_t n, uint32_t sum)
{
    for (size_t i = 0; i < n; i++)
        sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

enum { TSO_PAYLOAD = 1700, TSO_SIZE = 500, HEADERS = 14 + 20 + 20 };

// A segment of TCP that the port shall sum up and cut; the stack leaves the pseudo-header's sum.
static void make_large_segment(struct frame *f)
{
    uint8_t *p = f->data, *ip = p + 14, *tcp = ip + 20;
    memset(p, 0, HEADERS);
    memset(p, 0xff, 6);
    p[6] = 2;
    p[12] = 8;
    memcpy(ip, "\x45\0\0\0\0\x01\0\0\x40\x06\0\0\x0a\0\0\x01\x0a\0\0\x02", 20);
    ip[2] = (TSO_PAYLOAD + 40) >> 8;
    ip[3] = (TSO_PAYLOAD + 40) & 0xff;
    memcpy(tcp, "\x18\xeb\x30\x39\0\0\0\x64\0\0\0\x01\x50\x18\x10\0", 16);
    uint32_t pseudo = sum16(ip + 12, 8, 6 + TSO_PAYLOAD + 20);
    tcp[16] = (uint8_t)(pseudo >> 8);
    tcp[17] = (uint8_t)pseudo;
    for (int i = 0; i < TSO_PAYLOAD; i++)
        p[HEADERS + i] = (uint8_t)(i * 31);
    f->len = HEADERS + TSO_PAYLOAD;
    f->l2_len = 14;
    f->l3_len = f->l4_len = 20;
    f->tso_size = TSO_SIZE;
    f->flags = FRAME_TX_IP_SUM | FRAME_TX_L4_SUM | FRAME_TX_TSO | FRAME_KEEP;
}

static void segmentation_body(const char *unused)
{
    (void)unused;
    CHECK(unshare(CLONE_NEWNET) == 0);
    struct nic *nic = must_open("net_tap0,iface=plxtest0", NIC_HUGE_NO);
    // It cuts, if not what a stack would ask for: segments as large as its MTU allows.
    CHECK((nic_info(nic)->offloads & 7) == 3);
    run("ip link set plxtest0 up");
    int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_IP));
    CHECK(fd >= 0);
    struct port *port = nic_port(nic, 0);
    CHECK(port_attach(port) == 0);
    struct frame_pool *pool = port_pool(port);
    struct frame *f;
    CHECK(pool->alloc(pool, &f, 1) == 1 && pool->data_size >= HEADERS + TSO_PAYLOAD);
    make_large_segment(f);
    CHECK(port_tx(port, &f, 1) == 1);
    CHECK(pool->exclusive(f));
    int got = 0;
    while (got < TSO_PAYLOAD) {
        uint8_t p[2048], *ip = p + 14, *tcp = ip + 20;
        ssize_t n = recv(fd, p, sizeof(p), 0);
        CHECK(n > HEADERS);
        int len = (int)n - HEADERS;
        CHECK(len == (TSO_PAYLOAD - got < TSO_SIZE ? TSO_PAYLOAD - got : TSO_SIZE));
        CHECK(ip[2] * 256 + ip[3] == len + 40);
        CHECK(sum16(ip, 20, 0) == 0xffff);
        CHECK(sum16(tcp, (size_t)len + 20, sum16(ip + 12, 8, 6 + 20 + (uint32_t)len)) == 0xffff);
        CHECK(tcp[6] * 256 + tcp[7] == 100 + got);
        for (int i = 0; i < len; i++)
            CHECK(p[HEADERS + i] == (uint8_t)((got + i) * 31));
        got += len;
    }
    pool->release(pool, &f, 1);
    close(fd);
    port_detach(port);
    check_pools(port, false);
    nic_close(nic);
}

static void tap_body(const char *unused)
{
    (void)unused;
    CHECK(unshare(CLONE_NEWNET) == 0);
    struct nic *nic = must_open("net_tap0,iface=plxtest0", NIC_HUGE_NO);
    run("ip link set plxtest0 up");
    kernel_drive(nic, "plxtest0", 20000);
    struct nic_address a[4];
    CHECK(nic_kernel_addresses(nic, a, 4) == -ENOENT);
    nic_close(nic);
    CHECK(if_nametoindex("plxtest0") == 0);
}

static void af_xdp_body(const char *pages)
{
    int huge = strcmp(pages, "huge") == 0 ? NIC_HUGE_YES : NIC_HUGE_NO;
    CHECK(unshare(CLONE_NEWNET) == 0);
    run("ip link add plxtest0 type veth peer name plxtest1");
    run("ip addr add 10.9.8.7/29 dev plxtest0");
    run("ip addr add fd00:9::7/62 dev plxtest0 nodad");
    run("ip link set plxtest0 up");
    run("ip link set plxtest1 up");
    struct nic *nic = must_open("net_af_xdp0,iface=plxtest0", huge);
    struct nic_address a[4];
    int n = nic_kernel_addresses(nic, a, 4);
    CHECK(n >= 2 && a[0].family == 4 && a[0].prefix == 29);
    CHECK(memcmp(a[0].addr, "\x0a\x09\x08\x07", 4) == 0);
    bool six = false;
    for (int i = 1; i < n; i++)
        six |= a[i].family == 6 && a[i].prefix == 62 &&
               memcmp(a[i].addr, "\xfd\x00\x00\x09\0\0\0\0\0\0\0\0\0\0\0\x07", 16) == 0;
    CHECK(six);
    CHECK(nic_kernel_addresses(nic, a, 1) == 1);
    CHECK(nic_info(nic)->mtu == 1500 && nic_info(nic)->mtu_max > 3000);
    run("ip link show plxtest0 | grep -q xdp");
    // More than the pool has, several times over.
    kernel_drive(nic, "plxtest1", 40000);
    nic_close(nic);
    run("! ip link show plxtest0 | grep -q xdp");
}

static void need_root(void)
{
    if (geteuid() != 0)
        skip();
}

static void test_tap(void **state)
{
    (void)state;
    need_root();
    in_child(tap_body, NULL);
}

static void test_the_port_sums_and_cuts(void **state)
{
    (void)state;
    need_root();
    in_child(segmentation_body, NULL);
}

static void test_af_xdp(void **state)
{
    (void)state;
    need_root();
    in_child(af_xdp_body, "ordinary");
}

// --- hugepages
// -----------------------------------------------------------------------------------------

static long hugepages(long set)
{
    long n = -1;
    FILE *f = fopen("/proc/sys/vm/nr_hugepages", set >= 0 ? "r+" : "r");
    if (!f)
        return -1;
    if (fscanf(f, "%ld", &n) != 1)
        n = -1;
    if (set >= 0) {
        rewind(f);
        fprintf(f, "%ld\n", set);
    }
    fclose(f);
    return n;
}

static void test_hugepages(void **state)
{
    (void)state;
    need_root();
    long before = hugepages(-1);
    if (before < 0)
        skip();
    enum { ADDED = 320 }; // 640 MiB: two processes' pools
    hugepages(before + ADDED);
    bool there = hugepages(-1) == before + ADDED;
    pid_t pid = there ? fork() : -1;
    if (pid == 0) {
        alarm(PATIENCE_S);
        pid_t second = fork();
        if (second == 0)
            memif_pair("huge");
        else
            af_xdp_body("huge");
        int status = 0;
        if (second != 0)
            CHECK(waitpid(second, &status, 0) == second && status == 0);
        exit(0);
    }
    int status = 0;
    if (there)
        waitpid(pid, &status, 0);
    hugepages(before);
    if (!there)
        skip();
    assert_int_equal(status, 0);
}

// --- errors
// --------------------------------------------------------------------------------------------

static const struct {
    const char *device;
    int huge;
    unsigned mtu;
    bool root;
    const char *says; // must occur in the error
} errors[] = {
    {"eth0", NIC_HUGE_NO, 0, false, "neither a PCI address"},
    {"net_nonsense0", NIC_HUGE_NO, 0, false, "no driver of this name"},
    {"0000:ff:1f.7", NIC_HUGE_NO, 0, false, "no such PCI device"},
    {"net_af_xdp0", NIC_HUGE_NO, 0, false, "it needs an interface"},
    {"net_af_xdp0,iface=plxnone", NIC_HUGE_NO, 0, false, "no interface plxnone"},
    {"net_af_packet0,iface=plxnone", NIC_HUGE_NO, 0, false, "no interface plxnone"},
    {"net_memif0,role=chef", NIC_HUGE_NO, 0, false, "Unknown role: chef"},
    {"net_tap0,iface=plxtest0", NIC_HUGE_NO, 9000, true, "nic-mtu 9000: the port net_tap0 takes"},
};

static void error_body(const char *index)
{
    char error[512] = "";
    int i = atoi(index);
    CHECK(!errors[i].root || unshare(CLONE_NEWNET) == 0);
    struct nic *nic =
        open_nic(errors[i].device, errors[i].huge, errors[i].mtu, error, sizeof(error));
    if (!nic && strstr(error, errors[i].says) && !strchr(error, '\n'))
        return;
    fprintf(stderr, "%s: \"%s\"\n", errors[i].device, error);
    exit(1);
}

static void test_errors_say_what_to_do(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        char index[8];
        snprintf(index, sizeof(index), "%zu", i);
        if (!errors[i].root || geteuid() == 0)
            in_child(error_body, index);
    }
}

static void no_rights_body(const char *unused)
{
    (void)unused;
    char error[512] = "";
    CHECK(setuid(65534) == 0);
    CHECK(!open_nic("net_tap0,iface=plxtest0", NIC_HUGE_NO, 0, error, sizeof(error)));
    CHECK(strstr(error, "CAP_NET_ADMIN") && strstr(error, "root"));
}

static void test_missing_rights_are_named(void **state)
{
    (void)state;
    need_root();
    in_child(no_rights_body, NULL);
}

static void too_many_body(const char *unused)
{
    (void)unused;
    char error[512] = "";
    struct nic_options o = {.devices = {"net_null0", "net_null1"}, .n_devices = 2, .queues = 1};
    CHECK(!nic_open(&o, error, sizeof(error)));
    CHECK(strstr(error, "2 devices for 1 cores"));
    o.devices[1] = "net_null0";
    o.queues = 2;
    CHECK(!nic_open(&o, error, sizeof(error)));
    CHECK(strstr(error, "named twice"));
    o.huge_pages = NIC_HUGE_YES;
    o.devices[1] = "net_null1";
    o.rx_frames = 40u * 1024 * 1024; // more than any test machine has reserved
    CHECK(!nic_open(&o, error, sizeof(error)));
    CHECK(strstr(error, "sysctl -w vm.nr_hugepages="));
}

static void test_options_that_do_not_fit(void **state)
{
    (void)state;
    in_child(too_many_body, NULL);
}

// A port with RSS is given a key and a table, and tells them; several ports tell nothing together.
static void spread_body(const char *unused)
{
    (void)unused;
    char error[512] = "";
    struct nic_options o = {.devices = {"net_null0"},
                            .n_devices = 1,
                            .queues = 2,
                            .huge_pages = NIC_HUGE_NO,
                            .rx_frames = 2048,
                            .tx_frames = 2048,
                            .name = "pollux-test-spread"};
    struct nic *nic = nic_open(&o, error, sizeof(error));
    if (!nic)
        fprintf(stderr, "%s\n", error);
    CHECK(nic && nic_info(nic)->queues == 2);
    CHECK(nic_info(nic)->rss && nic_info(nic)->spread_known);
    unsigned count[2] = {0};
    for (unsigned port = 1024; port < 9216; port++) {
        struct endpoint local = {.family = 4, .port = 6379, .addr = {10, 0, 0, 1}};
        struct endpoint remote = {.family = 4, .port = (uint16_t)port, .addr = {10, 0, 0, 2}};
        unsigned queue = nic_queue_of(nic, &local, &remote);
        CHECK(queue < 2 && queue == nic_queue_of(nic, &local, &remote));
        count[queue]++;
    }
    CHECK(count[0] > 8192 / 3 && count[1] > 8192 / 3);
    nic_close(nic);
}

static void test_spread(void **state)
{
    (void)state;
    in_child(spread_body, NULL);
}

static void *queue_thread(void *context)
{
    struct port *port = context;
    struct frame *f[BURST];
    CHECK(port_attach(port) == 0);
    unsigned n = port_rx(port, f, BURST); // this device always has some
    CHECK(n > 0);
    port_release_rx(port, f, n);
    struct frame_pool *pool = port_pool(port);
    CHECK(pool->alloc(pool, f, BURST) == BURST);
    for (unsigned k = 0; k < BURST; k++)
        f[k]->len = 64;
    CHECK(port_tx(port, f, BURST) == BURST);
    // Emptied, the pool gives what it has; nothing is lost.
    struct frame *all[3000];
    CHECK(pool->alloc(pool, all, 3000) == 2048);
    CHECK(pool->alloc(pool, f, 1) == 0);
    pool->release(pool, all, 2048);
    port_detach(port);
    check_pools(port, true);
    return NULL;
}

static void queues_body(const char *unused)
{
    (void)unused;
    char error[512] = "";
    cpu_set_t before, after;
    const int cpus[] = {0, 1, -1};
    sched_getaffinity(0, sizeof(before), &before);
    struct nic_options o = {.devices = {"net_null0", "net_null1"},
                            .n_devices = 2,
                            .queues = 3,
                            .cpus = cpus,
                            .huge_pages = NIC_HUGE_NO,
                            .rx_frames = 2048,
                            .tx_frames = 2048,
                            .name = "pollux-test-queues"};
    struct nic *nic = nic_open(&o, error, sizeof(error));
    if (!nic)
        fprintf(stderr, "%s\n", error);
    CHECK(nic && nic_info(nic)->queues <= 3 && nic_info(nic)->queues >= 2);
    sched_getaffinity(0, sizeof(after), &after);
    CHECK(CPU_EQUAL(&before, &after));
    pthread_t thread[3];
    unsigned queues = nic_info(nic)->queues;
    for (unsigned i = 0; i < queues; i++)
        CHECK(pthread_create(&thread[i], NULL, queue_thread, nic_port(nic, i)) == 0);
    for (unsigned i = 0; i < queues; i++)
        CHECK(pthread_join(thread[i], NULL) == 0);
    nic_close(nic);
}
static void test_queues_and_pools(void **state)
{
    (void)state;
    in_child(queues_body, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors_say_what_to_do),
        cmocka_unit_test(test_missing_rights_are_named),
        cmocka_unit_test(test_options_that_do_not_fit),
        cmocka_unit_test(test_queues_and_pools),
        cmocka_unit_test(test_spread),
        cmocka_unit_test(test_memif),
        cmocka_unit_test(test_tap),
        cmocka_unit_test(test_the_port_sums_and_cuts),
        cmocka_unit_test(test_af_xdp),
        cmocka_unit_test(test_hugepages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
