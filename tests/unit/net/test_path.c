// How large segments are and in how many frames they travel: path MTU by ICMP and without it,
// cutting what is in flight, frames that the port cuts, runs of segments that are taken as one, and
// data that waits for the port.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/block.h"
#include "tests/unit/net/peer.h"

enum { HEADERS = 40, TEN_MINUTES_US = 600000000 };

static uint8_t bytes[200000]; // what position i of a stream holds

static int make_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 24);
    return 0;
}

static struct tcp *tcp_of(struct peer *p)
{
    return (struct tcp *)p->stream;
}

static void put(struct peer *p, uint32_t from, uint32_t n)
{
    out_write(&p->stream->out, bytes + from, n);
    p->stream->ops->push(p->stream);
}

// ICMP "fragmentation needed" that quotes our segment `seq`.
static void too_big(struct peer *p, uint16_t remote_port, uint32_t seq, uint16_t mtu)
{
    uint8_t icmp[8 + 28] = {3, 4}, *quoted = icmp + 8;
    store_be16(icmp + 6, mtu);
    quoted[0] = 0x45;
    store_be16(quoted + 2, 1500);
    quoted[9] = PROTOCOL_TCP;
    memcpy(quoted + 12, (const uint8_t[8]){10, 0, 0, 1, 10, 0, 0, 9}, 8);
    store_be16(quoted + 20, p->port);
    store_be16(quoted + 22, remote_port);
    store_be32(quoted + 24, seq);
    uint16_t sum = (uint16_t)~net_sum_fold(net_sum(icmp, sizeof(icmp), 0));
    memcpy(icmp + 2, &sum, 2);
    peer_ip(p, PROTOCOL_ICMP, icmp, sizeof(icmp));
}

// What the last turn sent of the stream, in order of sequence numbers from `start`: every byte must
// be right. Returns how many bytes there were.
static uint32_t check_bytes(const struct peer *p, uint32_t start, uint32_t largest)
{
    uint32_t all = 0;
    for (unsigned i = 0; i < p->n_out; i++) {
        const struct peer_segment *s = &p->out[i];
        assert_true(s->tcp && s->sums_good && s->len <= largest);
        assert_memory_equal(s->data, bytes + (s->seq - start), s->len);
        all += s->len;
    }
    return all;
}

static struct peer *open_peer(struct peer *p, const struct net_config *config)
{
    peer_start(p, config);
    peer_open(p);
    return p;
}

static void test_too_big(void **state)
{
    (void)state;
    struct peer p;
    open_peer(&p, NULL);
    uint32_t start = p.ack;
    put(&p, 0, 4000);
    peer_turn(&p);
    assert_int_equal(p.n_out, 3);
    assert_true(p.out[0].len == 1460 && p.out[1].len == 1460 && p.out[2].len == 1080);
    // Two segments were too large: both go again in two parts, the third is on its way.
    uint32_t cwnd = tcp_of(&p)->cwnd;
    p.n_out = 0;
    too_big(&p, p.peer_port, start, 1300);
    peer_turn(&p);
    assert_int_equal(p.n_out, 4);
    assert_int_equal(check_bytes(&p, start, 1260), 2920);
    assert_true(p.out[0].seq == start && p.out[1].seq == start + 1260 &&
                p.out[2].seq == start + 1460 && p.out[3].seq == start + 2720);
    assert_int_equal(tcp_of(&p)->mss, 1260);
    assert_int_equal(tcp_of(&p)->cwnd, cwnd); // the path is narrow, not full
    // The router complained of each.
    too_big(&p, p.peer_port, start + 1460, 1300);
    peer_none(&p);
    assert_int_equal(peer_count(&p)->pmtu_lowered, 1);
    assert_int_equal(peer_count(&p)->pmtu_repeated, 1);
    p.ack += 4000;
    peer_send(&p, TH_ACK, NULL, 0);
    put(&p, 4000, 3000);
    p.n_out = 0;
    peer_turn(&p);
    assert_true(p.n_out == 3 && p.out[0].len == 1260);
    p.ack += 3000;
    peer_send(&p, TH_ACK, NULL, 0);
    // Another connection to the same address knows at once.
    p.peer_port++;
    struct stream *first = p.stream;
    peer_open(&p);
    assert_int_equal(tcp_of(&p)->mss, 1260);
    first->ops->abort(first);
    peer_turn(&p);
    first->ops->release(first);
    peer_stop(&p);
}

static void test_fin_is_cut_too(void **state)
{
    (void)state;
    struct peer p;
    open_peer(&p, NULL);
    uint32_t start = p.ack;
    put(&p, 0, 1460);
    p.stream->ops->close(p.stream);
    p.n_out = 0;
    peer_turn(&p);
    p.n_out = 0;
    too_big(&p, p.peer_port, start, 1000);
    peer_turn(&p);
    assert_int_equal(p.n_out, 2);
    assert_int_equal(check_bytes(&p, start, 960), 1460);
    assert_false(p.out[0].flags & TH_FIN);
    assert_true(p.out[1].flags & TH_FIN);
    p.ack = start + 1461;
    peer_send(&p, TH_ACK, NULL, 0);
    peer_send(&p, TH_ACK | TH_FIN, NULL, 0);
    peer_turn(&p);
    assert_true(p.events & STREAM_CLOSED);
    peer_stop(&p);
}

static void test_forged(void **state)
{
    (void)state;
    struct peer p;
    open_peer(&p, NULL);
    const struct net_counters *count = peer_count(&p);
    uint32_t start = p.ack;
    too_big(&p, p.peer_port, start, 1300); // nothing is in flight
    assert_int_equal(count->pmtu_forged, 1);
    put(&p, 0, 1460 + 700);
    peer_turn(&p);
    too_big(&p, p.peer_port, start - 1, 1300);
    too_big(&p, p.peer_port, start + 2160, 1300);
    too_big(&p, p.peer_port, start + 0x40000000, 1300);
    too_big(&p, (uint16_t)(p.peer_port + 1), start, 1300);
    assert_int_equal(count->pmtu_forged, 5);
    too_big(&p, p.peer_port, start + 1460, 1300); // a segment of 740 bytes was not too large
    assert_int_equal(count->pmtu_forged, 6);
    too_big(&p, p.peer_port, start, 1500); // it is what our own link carries
    too_big(&p, p.peer_port, start, 65535);
    assert_int_equal(count->pmtu_repeated, 2);
    // Less than every link must carry would make headers of everything.
    too_big(&p, p.peer_port, start, 575);
    too_big(&p, p.peer_port, start, 68);
    assert_int_equal(count->pmtu_small, 2);
    peer_none(&p);
    assert_int_equal(tcp_of(&p)->mss, 1460);
    // A router that does not say how much it takes (RFC 1191 5): the next common size.
    too_big(&p, p.peer_port, start, 0);
    assert_int_equal(tcp_of(&p)->mss, 1492 - HEADERS);
    p.ack += 2160;
    peer_send(&p, TH_ACK, NULL, 0);
    too_big(&p, p.peer_port, start, 1300); // it has arrived meanwhile
    assert_int_equal(count->pmtu_forged, 7);
    assert_int_equal(tcp_of(&p)->mss, 1492 - HEADERS);
    peer_stop(&p);
}

static void test_forgotten(void **state)
{
    (void)state;
    struct peer p;
    open_peer(&p, NULL);
    put(&p, 0, 1460);
    peer_turn(&p);
    too_big(&p, p.peer_port, p.ack, 1300);
    p.ack += 1460;
    peer_send(&p, TH_ACK, NULL, 0);
    peer_turn(&p);
    p.now_us += TEN_MINUTES_US - 10000000;
    peer_turn(&p);
    put(&p, 1460, 1460);
    p.n_out = 0;
    peer_turn(&p);
    assert_int_equal(p.out[0].len, 1260);
    p.ack += 1460;
    peer_send(&p, TH_ACK, NULL, 0);
    p.now_us += 11000000;
    peer_turn(&p);
    assert_int_equal(peer_count(&p)->pmtu_expired, 1);
    put(&p, 2920, 1460);
    p.n_out = 0;
    peer_turn(&p);
    assert_int_equal(p.out[0].len, 1460);
    assert_int_equal(peer_count(&p)->pmtu_raised, 1);
    peer_stop(&p);
}

struct learned {
    unsigned calls, shown;
    uint8_t family, addr[16];
    uint16_t mtu;
};

static unsigned this_stack(void *context, const struct endpoint *local,
                           const struct endpoint *remote)
{
    (void)context;
    (void)local;
    (void)remote;
    return 0;
}

static bool note_learned(void *context, unsigned to, const struct net_mail *mail)
{
    struct learned *l = context;
    l->shown += mail->kind == NET_MAIL_SHOW;
    if (mail->kind != NET_MAIL_NEWS || mail->news.kind != NET_NEWS_MTU)
        return true;
    assert_int_equal(to, 1);
    l->calls++;
    l->family = mail->news.family;
    memcpy(l->addr, mail->news.addr, 16);
    l->mtu = mail->news.mtu;
    return true;
}

static void test_other_cores(void **state)
{
    (void)state;
    struct learned l = {0};
    struct net_config c = {
        .stacks = 2, .stack_of = this_stack, .send = note_learned, .context = &l};
    struct peer p;
    open_peer(&p, &c);
    put(&p, 0, 1460);
    peer_turn(&p);
    too_big(&p, p.peer_port, p.ack, 1300);
    assert_true(l.calls == 1 && l.family == 4 && l.mtu == 1300);
    assert_int_equal(l.shown, 1); // the flow might have been another's
    assert_memory_equal(l.addr, ((const uint8_t[16]){10, 0, 0, 9}), 16);
    peer_turn(&p);
    // What they learned is used here, and not told back.
    struct net_mail mail = {
        .kind = NET_MAIL_NEWS, .from = 1, .news = {.kind = NET_NEWS_MTU, .family = 4, .mtu = 1000}};
    memcpy(mail.news.addr, l.addr, 16);
    net_receive(p.net, &mail, p.now_us);
    p.ack += 1460;
    peer_send(&p, TH_ACK, NULL, 0);
    put(&p, 1460, 2000);
    p.n_out = 0;
    peer_turn(&p);
    assert_int_equal(p.out[0].len, 960);
    net_learn_mtu(p.net, 4, l.addr, 1500); // the path has become wide
    p.ack += 2000;
    peer_send(&p, TH_ACK, NULL, 0);
    put(&p, 3460, 2000);
    p.n_out = 0;
    peer_turn(&p);
    assert_int_equal(p.out[0].len, 1460);
    net_learn_mtu(p.net, 4, l.addr, 100); // no core learns this
    assert_int_equal(l.calls, 1);
    peer_stop(&p);
}

// Far more destinations than there are places: the table does not grow, and the newest are there.
static void test_table_is_bounded(void **state)
{
    (void)state;
    struct peer p;
    open_peer(&p, NULL);
    for (uint32_t i = 0; i < 20 * NET_PATH_SETS * NET_PATH_WAYS; i++) {
        uint8_t addr[16] = {11, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
        net_learn_mtu(p.net, 4, addr, 1280);
        struct net_flow flow = {.remote = load_raw32(addr)};
        assert_int_equal(net_path_mtu(p.net, &flow), 1280);
    }
    unsigned n = 0;
    for (unsigned i = 0; i < NET_PATH_SETS * NET_PATH_WAYS; i++)
        n += p.net->paths.path[i].family == 4;
    assert_int_equal(n, NET_PATH_SETS * NET_PATH_WAYS);
    assert_true(peer_count(&p)->pmtu_full > 0);
    p.now_us += TEN_MINUTES_US + 1;
    net_advance(p.net, p.now_us);
    assert_int_equal(peer_count(&p)->pmtu_expired, n);
    peer_stop(&p);
}

// A peer behind a link of `mtu` bytes that loses what is larger: takes what is in order, asks for
// the rest. Returns the bytes that arrived in all, for `us` or until all of `until` came.
static uint32_t receive_through(struct peer *p, uint32_t start, uint32_t mtu, uint32_t until)
{
    static uint8_t got[sizeof(bytes)]; // what came, in whatever order
    memset(got, 0, sizeof(got));
    uint32_t next = p->ack;
    for (unsigned turns = 0; next != start + until && turns < 4000; turns++) {
        unsigned n = p->n_out, acks = 0;
        for (unsigned i = 0; i < n; i++) {
            const struct peer_segment *s = &p->out[i];
            if (!s->len || s->len + HEADERS > mtu)
                continue;
            assert_memory_equal(s->data, bytes + (s->seq - start), s->len);
            memset(got + (s->seq - start), 1, s->len);
            while (next != start + until && got[next - start])
                next++;
            p->ack = next;
            peer_send(p, TH_ACK, NULL, 0);
            acks++;
        }
        p->n_out = 0;
        if (acks)
            peer_turn(p);
        else
            peer_wait(p, 100000);
    }
    return next - start;
}

static void test_black_hole(void **state)
{
    (void)state;
    struct peer p;
    open_peer(&p, NULL);
    const struct net_counters *count = peer_count(&p);
    uint32_t start = p.ack;
    put(&p, 0, sizeof(bytes));
    p.n_out = 0;
    peer_turn(&p);
    assert_int_equal(p.out[0].len, 1460);
    p.n_out = 0;
    peer_wait(&p, 1000000); // two time-outs may be congestion
    assert_true(p.n_out && p.out[p.n_out - 1].len == 1460);
    p.n_out = 0;
    peer_wait(&p, 1000000);
    assert_true(p.n_out == 2 && p.out[0].len == 1160 && p.out[1].len == 300);
    assert_int_equal(count->pmtu_black_hole, 0); // that will show
    assert_int_equal(receive_through(&p, start, 1400, sizeof(bytes)), sizeof(bytes));
    assert_int_equal(count->pmtu_black_hole, 1);
    assert_true(count->pmtu_probe_lost >= 1);
    // Larger sizes are tried, each once, with time between those that fail.
    for (unsigned i = 0; i < 10 && tcp_of(&p)->mss != 1360; i++) {
        uint32_t from = p.ack;
        p.now_us += 3000000;
        peer_turn(&p);
        put(&p, 0, 20000);
        p.n_out = 0;
        peer_turn(&p);
        assert_int_equal(receive_through(&p, from, 1400, 20000), 20000);
    }
    assert_int_equal(tcp_of(&p)->mss, 1360);
    // Nothing between this and what failed is worth a loss; the next connection begins here.
    uint64_t lost = count->pmtu_probe_lost;
    for (unsigned i = 0; i < 5; i++) {
        uint32_t from = p.ack;
        p.now_us += 3000000;
        put(&p, 0, 20000);
        p.n_out = 0;
        peer_turn(&p);
        assert_int_equal(receive_through(&p, from, 1400, 20000), 20000);
    }
    assert_true(count->pmtu_probe_lost <= lost + 2);
    lost = count->pmtu_probe_lost;
    struct stream *first = p.stream;
    p.peer_port++;
    peer_open(&p);
    assert_int_equal(tcp_of(&p)->mss, 1360);
    p.stream->ops->abort(p.stream);
    peer_turn(&p);
    p.stream->ops->release(p.stream);
    p.peer_port--;
    p.stream = first;
    p.events = 0;
    p.seq = tcp_of(&p)->rcv_nxt;
    p.ack = tcp_of(&p)->snd_nxt;
    // When the path's entry is old, the whole size is tried again, by a probe.
    p.now_us += TEN_MINUTES_US + 1;
    peer_turn(&p);
    uint32_t from = p.ack;
    put(&p, 0, 20000);
    p.n_out = 0;
    peer_turn(&p);
    assert_int_equal(receive_through(&p, from, 1500, 20000), 20000);
    assert_int_equal(tcp_of(&p)->mss, 1460);
    assert_int_equal(count->pmtu_probe_lost, lost);
    peer_stop(&p);
}

// An outage looks the same at first; the first probe tells, and nothing is remembered of it.
static void test_outage_is_no_black_hole(void **state)
{
    (void)state;
    struct peer p;
    open_peer(&p, NULL);
    uint32_t start = p.ack;
    put(&p, 0, sizeof(bytes));
    p.n_out = 0;
    peer_turn(&p);
    peer_wait(&p, 10000000);
    assert_true(tcp_of(&p)->mss < 1460);
    assert_int_equal(receive_through(&p, start, 1500, sizeof(bytes)), sizeof(bytes));
    assert_int_equal(tcp_of(&p)->mss, 1460);
    assert_int_equal(peer_count(&p)->pmtu_black_hole, 0);
    assert_null(p.net->paths.path);
    peer_stop(&p);
}

static const struct net_config cutting = {.offloads = NET_TX_IP_SUM | NET_TX_TCP_SUM | NET_TX_TSO};

static void test_cut_by_port(void **state)
{
    (void)state;
    struct peer p;
    open_peer(&p, &cutting);
    tcp_of(&p)->cwnd = 100000;
    uint32_t start = p.ack;
    put(&p, 0, 20000);
    p.n_out = p.n_frames = 0;
    peer_turn(&p);
    assert_int_equal(p.n_frames, 3); // five segments in each
    assert_int_equal(p.n_out, 14);
    assert_int_equal(check_bytes(&p, start, 1460), 20000);
    for (unsigned i = 0; i < p.n_out; i++)
        assert_true(p.out[i].seq == start + i * 1460);
    assert_true(p.out[13].flags & TH_PSH);
    assert_false(p.out[0].flags & TH_PSH);
    // A part of the first frame arrived: what is sent again begins where that ends.
    p.ack = start + 2 * 1460 + 100;
    peer_send(&p, TH_ACK, NULL, 0);
    p.n_out = 0;
    peer_wait(&p, 600000);
    assert_true(p.n_out > 0);
    assert_int_equal(p.out[0].seq, start + 2 * 1460 + 100);
    assert_int_equal(p.out[0].len, 1360); // the rest of the segment that the port had cut
    check_bytes(&p, start, 1460);
    // The path turns out to be narrower: the port cuts smaller.
    p.n_out = 0;
    too_big(&p, p.peer_port, p.ack, 1000);
    peer_turn(&p);
    assert_true(p.n_out > 0);
    check_bytes(&p, start, 960);
    assert_int_equal(p.out[0].seq, p.ack);
    p.ack = start + 20000;
    peer_send(&p, TH_ACK, NULL, 0);
    // A reply that is written directly fills a frame with several segments.
    put(&p, 20000, 5000);
    p.n_out = p.n_frames = 0;
    peer_turn(&p);
    assert_true(p.n_frames == 1 && p.n_out == 6);
    assert_int_equal(check_bytes(&p, start, 960), 5000);
    peer_stop(&p);
}

// The same random stream in bursts that are taken as runs and frame by frame: the same bytes, the
// same acknowledgements; in bursts there are fewer of them.
static void test_runs(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 200; seed++) {
        struct peer p[2];
        static uint8_t got[2][sizeof(bytes)];
        uint32_t n_got[2] = {0}, acked[2] = {0}, acks[2] = {0};
        for (int i = 0; i < 2; i++) {
            struct wire_rng rng;
            wire_seed(&rng, seed);
            peer_start(&p[i], NULL);
            p[i].ts = seed % 2 ? 100 : 0;
            peer_open(&p[i]);
            p[i].gather = i == 0;
            uint32_t start = p[i].seq, at = 0;
            for (unsigned burst = 0; burst < 12; burst++) {
                unsigned n = 1 + (unsigned)(wire_random(&rng) % 20);
                for (unsigned k = 0; k < n; k++) {
                    uint32_t len = 1 + (uint32_t)(wire_random(&rng) % 1448), from = at;
                    uint64_t kind = wire_random(&rng) % 16;
                    if (kind == 0 && at > 3000)
                        from -= (uint32_t)(wire_random(&rng) % 3000); // again, in part
                    else if (kind == 1)
                        from += (uint32_t)(wire_random(&rng) % 2000); // ahead of a gap
                    if (kind == 2 && p[i].ts)
                        p[i].ts++;
                    if (kind == 3)
                        p[i].wnd--;
                    if (from + len > sizeof(bytes))
                        break;
                    peer_send_at(&p[i], TH_ACK | (kind == 4 ? TH_PSH : 0), start + from, p[i].ack,
                                 bytes + from, len);
                    if (from == at)
                        at += len;
                }
                p[i].n_out = 0;
                if (p[i].gather) { // as peer_turn does, before the reader looks
                    struct frame *all[PEER_OUT_MAX];
                    for (unsigned k = 0; k < p[i].n_rx; k++)
                        all[k] = &p[i].rx[k];
                    net_input(p[i].net, all, p[i].n_rx, p[i].now_us);
                    p[i].gather = false;
                }
                // A reader that takes some of it.
                uint32_t take = (uint32_t)(wire_random(&rng) % 30000);
                while (take && p[i].stream->in_len) {
                    uint32_t part = p[i].stream->in_len < take ? p[i].stream->in_len : take;
                    memcpy(got[i] + n_got[i], p[i].stream->in, part);
                    n_got[i] += part;
                    take -= part;
                    stream_consume(p[i].stream, part);
                }
                peer_turn(&p[i]);
                p[i].gather = i == 0;
                for (unsigned k = 0; k < p[i].n_out; k++)
                    acked[i] = p[i].out[k].ack;
                acks[i] += p[i].n_out;
            }
            assert_int_equal(tcp_of(&p[i])->segments_in, tcp_of(&p[0])->segments_in);
            assert_memory_equal(got[i], bytes, n_got[i]);
        }
        assert_int_equal(n_got[0], n_got[1]);
        assert_int_equal(acked[0] - tcp_of(&p[0])->irs, acked[1] - tcp_of(&p[1])->irs);
        assert_int_equal(tcp_of(&p[0])->rcv_nxt, tcp_of(&p[1])->rcv_nxt);
        assert_int_equal(tcp_of(&p[0])->snd_wnd, tcp_of(&p[1])->snd_wnd);
        assert_int_equal(peer_count(&p[0])->tcp_out_of_order, peer_count(&p[1])->tcp_out_of_order);
        assert_true(acks[0] == acks[1]); // both answer once a turn
        assert_int_equal(peer_count(&p[1])->tcp_joined, 0);
        assert_true(peer_count(&p[0])->tcp_joined > 0);
        peer_stop(&p[0]);
        peer_stop(&p[1]);
    }
}

static void test_run_is_one_event(void **state)
{
    (void)state;
    struct peer p;
    open_peer(&p, NULL);
    p.gather = true;
    for (unsigned i = 0; i < 30; i++)
        peer_send(&p, TH_ACK, bytes + i * 1460, 1460);
    p.n_out = 0;
    peer_turn(&p);
    assert_int_equal(peer_count(&p)->tcp_joined, 29);
    assert_true(p.n_out == 1 && p.out[0].len == 0 && p.out[0].ack == p.seq);
    // A burst that ends the connection: nothing of it is touched afterwards.
    peer_send(&p, TH_ACK, bytes, 1460);
    peer_send(&p, TH_ACK, bytes, 1460);
    peer_send(&p, TH_RST | TH_ACK, NULL, 0);
    peer_send(&p, TH_ACK, bytes, 1460);
    peer_turn(&p);
    assert_true(p.events & STREAM_CLOSED);
    peer_stop(&p);
}

// A port that is behind: data stays on the heap, acknowledgements pass, and all of it leaves in the
// end, the connections in turns.
static void test_waiting_for_port(void **state)
{
    (void)state;
    struct peer p;
    open_peer(&p, NULL);
    struct stream *stream[2] = {p.stream};
    p.peer_port++;
    uint32_t start[2] = {p.ack};
    peer_open(&p);
    stream[1] = p.stream;
    start[1] = p.ack;
    for (int i = 0; i < 2; i++) {
        ((struct tcp *)stream[i])->cwnd = 1 << 20;
        ((struct tcp *)stream[i])->snd_wnd = 1 << 20;
        out_write(&stream[i]->out, bytes, sizeof(bytes));
        out_write(&stream[i]->out, bytes, sizeof(bytes));
        stream[i]->ops->push(stream[i]);
    }
    uint64_t sent[2] = {0};
    unsigned turns_of[2] = {0}, last = 2;
    for (unsigned round = 0; sent[0] + sent[1] < 4 * sizeof(bytes); round++) {
        assert_true(round < 2000);
        struct frame **out;
        unsigned n = net_output(p.net, &out);
        assert_true(n <= NET_OUTPUT_HIGH + 2 && n > 0);
        for (unsigned k = 0; k < n && k < 3; k++) { // the port takes three frames a turn
            uint8_t *tcp = out[k]->data + 34;
            unsigned of = load_be16(tcp + 2) == PEER_PORT ? 0 : 1;
            uint32_t header = (tcp[12] >> 4) * 4u, len = out[k]->len - 34 - header;
            uint32_t at = load_be32(tcp + 4) - start[of];
            assert_int_equal(at, sent[of]);
            for (uint32_t b = 0; b < len; b++)
                assert_int_equal(tcp[header + b], bytes[(at + b) % sizeof(bytes)]);
            sent[of] += len;
            turns_of[of] += of != last;
            last = of;
        }
        net_sent(p.net, n < 3 ? n : 3);
        net_turn_end(p.net);
    }
    assert_true(turns_of[0] > 1 || turns_of[1] > 1);
    // One that is reset while it waits is not found there.
    for (int i = 0; i < 2; i++) {
        stream[i]->ops->abort(stream[i]);
        peer_turn(&p);
        stream[i]->ops->release(stream[i]);
    }
    p.stream = NULL;
    peer_stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_too_big),          cmocka_unit_test(test_fin_is_cut_too),
        cmocka_unit_test(test_forged),           cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_other_cores),      cmocka_unit_test(test_table_is_bounded),
        cmocka_unit_test(test_black_hole),       cmocka_unit_test(test_outage_is_no_black_hole),
        cmocka_unit_test(test_cut_by_port),      cmocka_unit_test(test_runs),
        cmocka_unit_test(test_run_is_one_event), cmocka_unit_test(test_waiting_for_port),
    };
    return cmocka_run_group_tests(tests, make_bytes, NULL);
}
