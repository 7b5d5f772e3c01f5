// What strangers and ill-meaning peers send: each case is an attack, and names the document that
// says what to do.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/net/peer.h"

// --- SYN floods
// ------------------------------------------------------------------------------------------

enum { QUEUE = 4 };

// A stack whose queue of half-open connections is full: 192.0.2.0/24 behind the peer as gateway.
static void start_full(struct peer *p, struct net_config *c)
{
    struct net_config none = {0};
    if (!c)
        c = &none;
    c->half_open_max = QUEUE;
    c->gateway = (struct net_address){.family = 4, .addr = {10, 0, 0, 9}};
    peer_start(p, c);
    assert_int_equal(net_listen(p->net, OUR_PORT, 64), 0);
    for (int i = 0; i < QUEUE; i++) {
        memcpy(p->from, (const uint8_t[4]){192, 0, 2, (uint8_t)(100 + i)}, 4);
        peer_send_at(p, TH_SYN, 7, 0, NULL, 0);
        assert_int_equal(peer_only(p)->flags, TH_SYN | TH_ACK);
    }
    assert_int_equal(peer_count(p)->tcp_cookies_sent, 0);
    memcpy(p->from, (const uint8_t[4]){192, 0, 2, 1}, 4);
}

static struct peer_segment *send_syn(struct peer *p, uint16_t mss, uint8_t scale, bool sack)
{
    uint8_t options[40];
    p->options_len = peer_syn_options(p, options, mss, scale);
    if (sack) {
        memcpy(options + p->options_len, (const uint8_t[4]){1, 1, 4, 2}, 4);
        p->options_len += 4;
    }
    p->options = options;
    peer_send(p, TH_SYN, NULL, 0);
    struct peer_segment *s = peer_only(p);
    assert_int_equal(s->flags, TH_SYN | TH_ACK);
    assert_int_equal(s->ack, p->seq);
    p->ack = s->seq + 1;
    return s;
}

// RFC 4987 3.6: without timestamps only the MSS comes back, and nothing else is offered.
static void test_cookie_plain(void **state)
{
    (void)state;
    static const struct {
        uint16_t said, used;
    } sizes[] = {{100, 216},   {216, 216},   {535, 216},   {536, 536},   {1200, 536},
                 {1220, 1220}, {1399, 1360}, {1459, 1440}, {1460, 1460}, {9000, 1460}};
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        struct peer p;
        start_full(&p, NULL);
        uint64_t memory = net_memory(p.net);
        struct peer_segment *s = send_syn(&p, sizes[i].said, 9, true);
        assert_true(s->options.has_mss && s->options.mss == 1460);
        assert_false(s->options.has_scale || s->options.has_sack || s->options.has_stamp);
        assert_int_equal(peer_count(&p)->tcp_cookies_sent, 1);
        assert_int_equal(net_memory(p.net), memory); // nothing is remembered
        assert_null(p.stream);
        peer_send(&p, TH_ACK, NULL, 0);
        peer_none(&p);
        assert_non_null(p.stream);
        assert_int_equal(peer_count(&p)->tcp_cookies_accepted, 1);
        struct stream_info info;
        p.stream->ops->info(p.stream, &info);
        assert_string_equal(info.state, "ESTABLISHED");
        assert_int_equal(info.mss, sizes[i].used);
        assert_int_equal(info.snd_wnd, 65000);
        assert_int_equal(info.remote.addr[3], 1);
        out_write(&p.stream->out, "hello", 5);
        p.stream->ops->push(p.stream);
        s = peer_only(&p);
        assert_true(s->len == 5 && s->seq == p.ack && s->ack == p.seq && !s->options.has_stamp);
        peer_stop(&p);
    }
}

// Scale and SACK travel in the timestamp (as Linux does it), whose clock goes on without a jump.
static void test_cookie_stamps(void **state)
{
    (void)state;
    for (int kind = 0; kind < 8; kind++) {
        bool sack = kind & 1;
        uint8_t scale = kind & 2 ? (kind & 4 ? 14 : 7) : (kind & 4 ? 0 : 0xff);
        struct peer p;
        start_full(&p, NULL);
        p.now_us += 37000 * (unsigned)kind; // the lower bits of the clock differ
        p.ts = 777;
        struct peer_segment *s = send_syn(&p, 1460, scale, sack);
        assert_true(s->options.has_stamp && s->options.ts_echo == 777);
        assert_int_equal(s->options.has_scale, scale != 0xff);
        assert_int_equal(s->options.has_sack, sack);
        uint32_t stamp = s->options.ts_value;
        assert_int_equal(peer_count(&p)->tcp_cookies_sent, 1);
        p.now_us += 40000;
        p.ts = 800;
        // The first data travels with the acknowledgement.
        peer_send(&p, TH_ACK | TH_PSH, "PING\r\n", 6);
        peer_turn(&p);
        assert_non_null(p.stream);
        assert_int_equal(p.events, STREAM_ACCEPTED | STREAM_READABLE);
        assert_int_equal(p.stream->in_len, 6);
        const struct tcp *c = (const struct tcp *)p.stream;
        assert_int_equal(c->mss, 1448);
        assert_int_equal(c->snd_scale, scale == 0xff ? 0 : scale);
        assert_int_equal((c->flags & TCP_SACK) != 0, sack);
        assert_int_equal(c->snd_wnd, 65000u << c->snd_scale);
        assert_int_equal(c->rcv_scale, scale == 0xff ? 0 : tcp_receive_scale(p.net));
        assert_int_equal(c->ts_recent, 800);
        out_write(&p.stream->out, "+PONG\r\n", 7);
        p.stream->ops->push(p.stream);
        s = peer_only(&p);
        assert_true(s->len == 7 && s->options.has_stamp && s->options.ts_echo == 800);
        // Forward, by what passed and less than 64 ms more.
        uint32_t step = s->options.ts_value - stamp;
        assert_true(step >= 40 && step < 40 + 64);
        peer_stop(&p);
    }
}

// A guess is answered by RST; an acknowledgement is only looked at while a cookie may be under way.
static void test_cookie_guesses(void **state)
{
    (void)state;
    struct peer p;
    struct net_config roomy = {0};
    peer_start(&p, &roomy);
    net_listen(p.net, OUR_PORT, 64);
    peer_send_at(&p, TH_ACK, 500, 9999, NULL, 0);
    assert_int_equal(peer_only(&p)->flags, TH_RST);
    assert_int_equal(peer_count(&p)->tcp_cookies_failed, 0);
    peer_stop(&p);

    start_full(&p, NULL);
    send_syn(&p, 1460, 0xff, false);
    static const int32_t off[] = {1, -1, 8, -8, 64, 1 << 20, INT32_MIN};
    unsigned wrong = 0;
    for (unsigned i = 0; i < sizeof(off) / sizeof(*off); i++) {
        // Another port, another number of ours: neither is right. Where only what lies in the lower
        // bits is wrong, there is no reset either.
        bool far = off[i] > 64 || off[i] < -64;
        p.peer_port = PEER_PORT;
        peer_send_at(&p, TH_ACK, p.seq, p.ack + (uint32_t)off[i], NULL, 0);
        p.n_out = 0;
        peer_turn(&p);
        assert_int_equal(p.n_out, far);
        assert_true(!far || (p.out[0].flags == TH_RST && p.out[0].seq == p.ack + (uint32_t)off[i]));
        wrong += far;
        // Another number of the peer's does not open either, but it may be the client, of whom the
        // first segment was lost: no reset.
        peer_send_at(&p, TH_ACK | TH_PSH, p.seq + (uint32_t)off[i], p.ack, "later", 5);
        peer_none(&p);
        p.peer_port++;
        peer_send_at(&p, TH_ACK, p.seq, p.ack, NULL, 0);
        assert_int_equal(peer_only(&p)->flags, TH_RST);
    }
    assert_int_equal(peer_count(&p)->tcp_cookies_failed, sizeof(off) / sizeof(*off) + wrong);
    assert_int_equal(peer_count(&p)->tcp_cookies_early, 2 * sizeof(off) / sizeof(*off) - wrong);
    assert_int_equal(peer_count(&p)->tcp_cookies_accepted, 0);
    // SYN, FIN or RST beside it do not open anything.
    p.peer_port = PEER_PORT;
    peer_send_at(&p, TH_RST | TH_ACK, p.seq, p.ack, NULL, 0);
    peer_none(&p);
    peer_send_at(&p, TH_SYN | TH_ACK, p.seq, p.ack, NULL, 0);
    assert_int_equal(peer_only(&p)->flags, TH_RST);
    assert_null(p.stream);
    peer_send(&p, TH_ACK, NULL, 0); // and the right one does
    peer_none(&p);
    assert_non_null(p.stream);
    peer_stop(&p);
}

// Good for one counter of 64 s beyond its own, and then no more.
static void test_cookie_age(void **state)
{
    (void)state;
    static const struct {
        unsigned seconds;
        bool good;
    } ages[] = {{0, true}, {30, true}, {63, true}, {129, false}, {1000, false}};
    for (unsigned i = 0; i < sizeof(ages) / sizeof(*ages); i++) {
        struct peer p;
        start_full(&p, NULL);
        p.ts = 1000;
        send_syn(&p, 1460, 7, false);
        // Others keep the window open, so that age alone decides.
        for (unsigned s = 0; s < ages[i].seconds; s++) {
            peer_wait(&p, 1000000);
            p.from[3] = 200;
            for (int k = 0; k <= QUEUE; k++) {
                p.peer_port++;
                peer_send_at(&p, TH_SYN, 1, 0, NULL, 0);
            }
            peer_turn(&p);
        }
        p.from[3] = 1;
        p.peer_port = PEER_PORT;
        p.n_out = 0;
        peer_send(&p, TH_ACK, NULL, 0);
        peer_turn(&p);
        assert_int_equal(p.stream != NULL, ages[i].good);
        assert_int_equal(peer_count(&p)->tcp_cookies_failed, !ages[i].good);
        peer_stop(&p);
    }
}

// Addresses of our own link that nobody has: the answers go back where the SYNs came from, and
// nobody is asked for them (RFC 6583 3, for ARP as well).
static void test_flood_from_link(void **state)
{
    (void)state;
    struct peer p;
    start_full(&p, NULL);
    uint64_t asked = peer_count(&p)->arp_out;
    for (int i = 0; i < 100; i++) {
        memcpy(p.from, (const uint8_t[4]){10, 0, 0, (uint8_t)(20 + i)}, 4);
        peer_send_at(&p, i % 2 ? TH_SYN : TH_ACK, 77, 88, NULL, 0);
        struct peer_segment *s = peer_only(&p);
        assert_int_equal(s->flags, i % 2 ? TH_SYN | TH_ACK : TH_RST);
        assert_memory_equal(s->raw, ((uint8_t[6]){2, 0, 0, 0, 0, 9}), 6);
        assert_memory_equal(s->raw + 30, p.from, 4);
    }
    assert_int_equal(peer_count(&p)->arp_out, asked);
    peer_stop(&p);
}

// Answers to strangers leave the last frames to what keeps connections alive.
static void test_flood_frames(void **state)
{
    (void)state;
    struct peer p;
    start_full(&p, NULL);
    memcpy(p.from, (const uint8_t[4]){10, 0, 0, 9}, 4);
    peer_open(&p);
    p.pool.limit = p.pool.taken; // whatever the stack has taken is all there is
    for (int i = 0; i < 60; i++) {
        p.from[3] = (uint8_t)(50 + i);
        peer_send_at(&p, TH_SYN, 77, 88, NULL, 0);
    }
    memcpy(p.from, (const uint8_t[4]){10, 0, 0, 9}, 4);
    peer_send(&p, TH_ACK | TH_PSH | TH_FIN, "x", 1);
    p.n_out = 0;
    peer_turn(&p);
    assert_true(peer_count(&p)->no_frame > 0);
    struct peer_segment *last = &p.out[p.n_out - 1];
    assert_true(last->flags == TH_ACK && last->ack == p.seq); // and there is one for this
    assert_false(p.net->frames_short);
    peer_stop(&p);
}

// Nobody is answered with more than was asked: no more segments than came, none longer (frames of
// Ethernet have 60 bytes at least), and nothing to the addresses again later (RFC 4987 3.6).
static void test_no_amplification(void **state)
{
    (void)state;
    struct peer p;
    start_full(&p, NULL);
    peer_wait(&p, 60000000); // the requests that filled the queue are over
    memset(&p.out, 0, sizeof(p.out));
    for (int kind = 0; kind < 16; kind++) {
        p.peer_port++;
        p.n_out = 0;
        p.ts = kind & 1 ? 5 : 0;
        uint8_t options[40];
        p.options_len = kind & 2 ? peer_syn_options(&p, options, 1460, kind & 4 ? 7 : 0xff) : 0;
        if (kind & 8) {
            memcpy(options + p.options_len, (const uint8_t[4]){1, 1, 4, 2}, 4);
            p.options_len += 4;
        }
        p.options = options;
        uint32_t sent = 54 + p.options_len;
        peer_send_at(&p, TH_SYN, 1, 0, NULL, 0);
        struct peer_segment *s = peer_only(&p);
        assert_true(s->raw_len <= (sent > 60 ? sent : 60));
    }
    assert_int_equal(peer_count(&p)->tcp_cookies_sent, 16 - QUEUE);
    peer_wait(&p, 100000000);
    unsigned again = 0;
    for (unsigned i = 0; i < p.n_out; i++)
        again += p.out[i].tcp;
    assert_true(again <= QUEUE * TCP_SYN_ACK_TRIES);
    peer_stop(&p);
}

// A SYN-ACK is repeated while there is room, and less when there is not.
static void test_syn_ack_repeated(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    net_listen(p.net, OUR_PORT, 64);
    peer_send_at(&p, TH_SYN, 1, 0, NULL, 0);
    uint32_t iss = peer_only(&p)->seq;
    peer_wait(&p, 60000000);
    assert_int_equal(p.n_out, TCP_SYN_ACK_TRIES);
    for (unsigned i = 0; i < p.n_out; i++)
        assert_true(p.out[i].flags == (TH_SYN | TH_ACK) && p.out[i].seq == iss &&
                    p.out[i].ack == 2);
    assert_int_equal(peer_count(&p)->tcp_half_open_timeout, 1);
    assert_int_equal(net_connection_count(p.net), 0);
    assert_int_equal(net_memory(p.net), 0);
    peer_stop(&p);
    start_full(&p, NULL);
    peer_wait(&p, 60000000);
    assert_in_range(p.n_out, QUEUE, QUEUE * TCP_SYN_ACK_TRIES - 1);
    assert_int_equal(net_connection_count(p.net), 0);
    peer_stop(&p);
}

// The owner has not seen so many connections: what ends a handshake is dropped and comes again.
static void test_backlog(void **state)
{
    (void)state;
    for (int cookies = 0; cookies < 2; cookies++) {
        struct peer p;
        struct net_config c = {.half_open_max = cookies ? 1 : 100};
        peer_start(&p, &c);
        net_listen(p.net, OUR_PORT, 2);
        uint32_t acks[3];
        p.peer_port = 5000;
        for (int i = 0; i < 3; i++, p.peer_port++) {
            peer_send_at(&p, TH_SYN, 1000, 0, NULL, 0);
            acks[i] = peer_only(&p)->seq + 1;
        }
        for (int i = 0; i < 3; i++) { // in one turn: the owner looks at its end
            p.peer_port = (uint16_t)(5000 + i);
            peer_send_at(&p, TH_ACK, 1001, acks[i], NULL, 0);
        }
        // A SYN that could not be completed is not answered either.
        p.peer_port = 6000;
        peer_send_at(&p, TH_SYN, 1000, 0, NULL, 0);
        peer_none(&p);
        assert_int_equal(peer_count(&p)->tcp_accepted, 2);
        assert_int_equal(peer_count(&p)->tcp_backlog_full, 1);
        assert_int_equal(peer_count(&p)->tcp_syn_dropped, 1);
        p.peer_port = 5002;
        peer_send_at(&p, TH_ACK | TH_PSH, 1001, acks[2], "x", 1);
        peer_turn(&p);
        assert_int_equal(peer_count(&p)->tcp_accepted, 3);
        assert_int_equal(p.stream->in_len, 1);
        peer_stop(&p);
    }
}

static bool refuse_some(void *context, const struct endpoint *remote)
{
    ++*(unsigned *)context;
    return remote->port % 2 == 0;
}

// Whoever only sends SYNs does not make the owner decide anything.
static void test_admit_late(void **state)
{
    (void)state;
    struct peer p;
    unsigned asked = 0;
    struct net_config c = {.admit = refuse_some, .context = &asked};
    start_full(&p, &c);
    for (int i = 0; i < 2; i++) {
        p.peer_port = (uint16_t)(4001 - i);
        p.seq = 1000;
        send_syn(&p, 1460, 7, false);
        assert_int_equal(asked, i);
        peer_send(&p, TH_ACK, NULL, 0);
        p.n_out = 0;
        peer_turn(&p);
        assert_int_equal(p.n_out, !i); // RST for the odd one
        assert_int_equal(asked, i + 1);
        assert_int_equal(p.stream != NULL, i);
    }
    assert_int_equal(peer_count(&p)->tcp_syn_refused, 1);
    peer_stop(&p);
}

// RFC 9293 3.10.7.4 and RFC 5961 for a connection that is half open.
static void test_request_attacks(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    net_listen(p.net, OUR_PORT, 64);
    p.ts = 500;
    uint32_t irs = p.seq;
    uint32_t iss = send_syn(&p, 1460, 7, true)->seq;
    // Its SYN again: the same answer.
    uint8_t options[40];
    p.options_len = peer_syn_options(&p, options, 1460, 7);
    p.options = options;
    peer_send_at(&p, TH_SYN, irs, 0, NULL, 0);
    struct peer_segment *s = peer_only(&p);
    assert_true(s->flags == (TH_SYN | TH_ACK) && s->seq == iss && s->ack == irs + 1);
    // RST that is not exactly next (5961 3.2), another SYN (4.2), data outside the window, an old
    // timestamp (RFC 7323 5): one challenge, and then a pause; nothing changes.
    peer_send_at(&p, TH_RST, p.seq + 100, 0, NULL, 0);
    s = peer_only(&p);
    assert_true(s->flags == TH_ACK && s->seq == iss + 1 && s->ack == irs + 1);
    peer_send_at(&p, TH_RST, p.seq + 100000, 0, NULL, 0);
    peer_send_at(&p, TH_SYN, p.seq + 5, 0, NULL, 0);
    peer_send_at(&p, TH_SYN, p.seq + 100000, 0, NULL, 0);
    peer_send_at(&p, TH_ACK, p.seq + 100000, p.ack, "x", 1);
    p.ts = 400;
    peer_send(&p, TH_ACK, NULL, 0);
    p.ts = 0;
    peer_send(&p, TH_ACK, NULL, 0); // without the option that was agreed on (RFC 7323 3.2)
    p.ts = 501;
    peer_send_at(&p, 0, p.seq, 0, "x", 1);
    peer_send_at(&p, TH_FIN | TH_PSH | TH_URG, p.seq, 0, NULL, 0);
    peer_none(&p);
    const struct net_counters *n = peer_count(&p);
    assert_int_equal(n->tcp_challenge_ack, 1);
    assert_int_equal(n->tcp_reset_bad, 2);
    assert_int_equal(n->tcp_syn_bad + n->tcp_out_of_window, 3);
    assert_int_equal(n->tcp_paws, 2);
    assert_int_equal(n->tcp_no_ack, 2);
    p.now_us += 300000;
    peer_send_at(&p, TH_SYN, p.seq + 5, 0, NULL, 0);
    assert_int_equal(peer_only(&p)->flags, TH_ACK);
    // An acknowledgement of what was never sent: RST, and the request stays.
    peer_send_at(&p, TH_ACK, p.seq, p.ack + 1, NULL, 0);
    s = peer_only(&p);
    assert_true(s->flags == TH_RST && s->seq == p.ack + 1);
    assert_int_equal(net_connection_count(p.net), 1);
    // Data that is early opens the connection and waits for what comes before.
    peer_send_at(&p, TH_ACK, p.seq + 1, p.ack, "b", 1);
    peer_turn(&p);
    assert_non_null(p.stream);
    assert_int_equal(p.stream->in_len, 0);
    peer_send_at(&p, TH_ACK, p.seq, p.ack, "a", 1);
    peer_turn(&p);
    assert_memory_equal(p.stream->in, "a", 1);
    peer_stop(&p);

    // The right RST ends it.
    peer_start(&p, NULL);
    net_listen(p.net, OUR_PORT, 64);
    send_syn(&p, 1460, 7, true);
    peer_send_at(&p, TH_RST, p.seq, 0, NULL, 0);
    peer_none(&p);
    assert_int_equal(net_connection_count(p.net), 0);
    assert_int_equal(peer_count(&p)->tcp_reset_in, 1);
    peer_stop(&p);
}

// --- blind attacks on connections
// ------------------------------------------------------------------------

static void expect_challenge(struct peer *p)
{
    struct peer_segment *s = peer_only(p);
    assert_true(s->flags == TH_ACK && s->seq == p->ack && s->ack == p->seq && s->len == 0);
    p->now_us += 300000;
}

// RFC 5961 3.2: only the RST that is exactly next is believed.
static void test_rst_attack(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    peer_open(&p);
    uint32_t wnd = ((struct tcp *)p.stream)->rcv_adv - p.seq;
    assert_true(wnd > 1000);
    static const uint32_t inside[] = {1, 2, 1000};
    for (unsigned i = 0; i < 3; i++) {
        peer_send_at(&p, TH_RST, p.seq + inside[i], 0, NULL, 0);
        expect_challenge(&p);
    }
    peer_send_at(&p, TH_RST, p.seq + wnd - 1, 0, NULL, 0);
    expect_challenge(&p);
    wnd = ((struct tcp *)p.stream)->rcv_adv - p.seq; // the challenges told of more
    // Outside: not a word.
    peer_send_at(&p, TH_RST, p.seq + wnd, 0, NULL, 0);
    peer_send_at(&p, TH_RST, p.seq - 1, 0, NULL, 0);
    peer_send_at(&p, TH_RST | TH_ACK, p.seq + (1u << 31), p.ack, NULL, 0);
    peer_none(&p);
    assert_int_equal(peer_count(&p)->tcp_reset_bad, 7);
    assert_int_equal(p.events & STREAM_CLOSED, 0);
    // Many in a window: one answer in a quarter of a second.
    for (uint32_t i = 1; i < 200; i++)
        peer_send_at(&p, TH_RST, p.seq + i, 0, NULL, 0);
    peer_only(&p);
    assert_int_equal(peer_count(&p)->tcp_challenge_limited, 198);
    peer_send_at(&p, TH_RST, p.seq, 0, NULL, 0);
    peer_none(&p);
    assert_true(p.events & STREAM_CLOSED);
    assert_int_equal(p.stream->error, STREAM_RESET);
    peer_stop(&p);
}

// RFC 5961 4.2: no SYN touches a connection, wherever it lies.
static void test_syn_attack(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    peer_open(&p);
    static const uint32_t at[] = {0, 1, 1000, (uint32_t)-1, 1u << 30, 1u << 31};
    for (unsigned i = 0; i < sizeof(at) / sizeof(*at); i++)
        for (unsigned k = 0; k < 3; k++) {
            static const uint8_t flags[] = {TH_SYN, TH_SYN | TH_ACK, TH_SYN | TH_FIN | TH_ACK};
            peer_send_at(&p, flags[k], p.seq + at[i], p.ack, NULL, 0);
            expect_challenge(&p);
        }
    peer_send(&p, TH_ACK, "alive", 5);
    peer_turn(&p);
    assert_int_equal(p.stream->in_len, 5);
    peer_stop(&p);
}

// RFC 5961 5.2: data with an acknowledgement that nobody could have sent is not taken.
static void test_data_attack(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    peer_open(&p);
    static const uint32_t at[] = {1, 1000, 1u << 30, 1u << 31, (uint32_t)-100000000};
    for (unsigned i = 0; i < sizeof(at) / sizeof(*at); i++) {
        peer_send_at(&p, TH_ACK | TH_PSH, p.seq, p.ack + at[i], "FLUSHALL\r\n", 10);
        expect_challenge(&p);
        assert_int_equal(p.stream->in_len, 0);
        // Nor without any, nor far away, where it costs one answer and not one for each.
        peer_send_at(&p, TH_PSH, p.seq, 0, "FLUSHALL\r\n", 10);
        peer_none(&p);
        for (int k = 0; k < 10; k++)
            peer_send_at(&p, TH_ACK, p.seq + (1u << 30) + (uint32_t)k * 100000000, p.ack, "x", 1);
        expect_challenge(&p);
    }
    assert_int_equal(p.stream->in_len, 0);
    // FIN ends nothing unless it is next and acknowledges what can be.
    peer_send_at(&p, TH_FIN | TH_ACK, p.seq, p.ack + 1, NULL, 0);
    expect_challenge(&p);
    peer_send_at(&p, TH_FIN, p.seq, 0, NULL, 0);
    peer_none(&p);
    assert_int_equal(p.events & STREAM_EOF, 0);
    peer_stop(&p);
}

// RFC 7323 5.3: old timestamps are answered, not at their own pace.
static void test_paws_flood(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    p.ts = 100000;
    peer_open(&p);
    p.ts = 50000;
    for (int i = 0; i < 100; i++)
        peer_send_at(&p, TH_ACK, p.seq, p.ack, "x", 1);
    expect_challenge(&p);
    assert_int_equal(peer_count(&p)->tcp_paws, 100);
    peer_stop(&p);
}

// RFC 5961 10 and CVE-2016-5696: a limit for all connections, of which nobody knows where it lies.
static void test_challenge_limit(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    enum { CONNECTIONS = 2000 };
    static uint32_t seq[CONNECTIONS];
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        p.peer_port = (uint16_t)(10000 + i);
        peer_open(&p);
        seq[i] = p.seq;
    }
    uint64_t least = UINT64_MAX, most = 0, last = 0;
    for (int second = 0; second < 20; second++) {
        p.now_us = (p.now_us / 1000000 + 1) * 1000000;
        uint64_t before = peer_count(&p)->tcp_challenge_ack;
        for (unsigned i = 0; i < CONNECTIONS; i++) {
            p.peer_port = (uint16_t)(10000 + i);
            peer_send_at(&p, TH_RST, seq[i] + 1, 0, NULL, 0);
            if (i % 100 == 99) {
                p.n_out = 0;
                peer_turn(&p);
            }
        }
        uint64_t sent = peer_count(&p)->tcp_challenge_ack - before;
        assert_in_range(sent, 500, 1499);
        least = sent < least ? sent : least;
        most = sent > most ? sent : most;
        assert_true(sent != last); // for this secret; twice the same is one in a thousand
        last = sent;
    }
    assert_true(most - least > 300);
    peer_stop(&p);
}

// RFC 6528: the sequence number follows a clock for each connection and tells nothing of others.
static void test_initial_sequence(void **state)
{
    (void)state;
    struct peer p, q;
    struct net_config other = {.secret = {1}};
    peer_start(&p, NULL);
    peer_start(&q, &other);
    struct net_flow flow = {
        .local = 0x0100000a, .remote = 0x0900000a, .local_port = 1, .remote_port = 2};
    uint32_t first = tcp_initial_sequence(p.net, &flow);
    p.net->now_us += 4000;
    assert_int_equal(tcp_initial_sequence(p.net, &flow) - first, 1000);
    p.net->now_us -= 4000;
    assert_true(tcp_initial_sequence(q.net, &flow) != first);
    uint32_t low = UINT32_MAX, high = 0;
    for (uint16_t port = 0; port < 64; port++) {
        flow.remote_port = port;
        uint32_t iss = tcp_initial_sequence(p.net, &flow);
        low = iss < low ? iss : low;
        high = iss > high ? iss : high;
    }
    assert_true(high - low > 1u << 30);
    // Timestamps begin anywhere as well (RFC 7323 5.4).
    assert_true(tcp_stamp_offset(p.net, &flow) != tcp_stamp_offset(q.net, &flow));
    peer_stop(&p);
    peer_stop(&q);
}

static uint16_t port_towards(struct peer *p, uint8_t host)
{
    struct endpoint to = {.family = 4, .port = 7000, .addr = {10, 0, 0, host}};
    int error;
    struct stream *s = net_connect(p->net, &to, &error);
    assert_non_null(s);
    struct stream_info info;
    s->ops->info(s, &info);
    s->ops->abort(s);
    peer_turn(p);
    s->ops->release(s);
    return info.local.port;
}

// RFC 6056 3.3.4: what is opened to one destination does not show in the ports of another.
static void test_ports(void **state)
{
    (void)state;
    uint16_t ports[2];
    for (int busy = 0; busy < 2; busy++) {
        struct peer p;
        peer_start(&p, NULL);
        uint16_t first = port_towards(&p, 9);
        for (int i = 0; busy && i < 37; i++) {
            p.n_out = 0;
            port_towards(&p, 8);
        }
        ports[busy] = port_towards(&p, 9);
        assert_true(ports[busy] == first + 1); // not used again soon
        assert_true(port_towards(&p, 8) != first + 2);
        peer_stop(&p);
    }
    assert_int_equal(ports[0], ports[1]);
}

// --- TIME-WAIT
// ------------------------------------------------------------------------------------------

// Our side closes first, the peer follows: TIME-WAIT is here.
static void to_time_wait(struct peer *p)
{
    peer_open(p);
    p->stream->ops->close(p->stream);
    struct peer_segment *s = peer_only(p);
    assert_true(s->flags & TH_FIN);
    p->ack = s->seq + 1;
    peer_send(p, TH_FIN | TH_ACK, NULL, 0);
    p->n_out = 0;
    peer_turn(p);
    assert_int_equal(peer_count(p)->tcp_time_wait, 1);
    p->stream->ops->release(p->stream);
    p->stream = NULL;
    p->events = 0;
}

static unsigned waits(struct peer *p)
{
    return p->net->n_waits;
}

// RFC 1337: neither RST nor old segments end TIME-WAIT; nothing but the peer's FIN prolongs it, and
// nobody makes it chatter.
static void test_time_wait_assassination(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    to_time_wait(&p);
    p.now_us += 1000000;
    peer_send_at(&p, TH_RST, p.seq, 0, NULL, 0);
    peer_send_at(&p, TH_RST | TH_ACK, p.seq, p.ack, NULL, 0);
    peer_none(&p);
    assert_int_equal(waits(&p), 1);
    for (uint32_t i = 0; i < 50; i++)
        peer_send_at(&p, TH_ACK, p.seq - 100 + i, p.ack, "old", 3);
    struct peer_segment *s = peer_only(&p);
    assert_true(s->flags == TH_ACK && s->ack == p.seq && s->seq == p.ack);
    for (int i = 0; i < 55; i++) { // a FIN that is not the peer's last does not keep it
        p.now_us += 1000000;
        peer_send_at(&p, TH_FIN | TH_ACK, p.seq + 5000, p.ack, NULL, 0);
        peer_turn(&p);
    }
    peer_wait(&p, 10000000);
    assert_int_equal(waits(&p), 0);
    peer_stop(&p);

    peer_start(&p, NULL);
    to_time_wait(&p);
    p.now_us += 50000000;
    peer_send_at(&p, TH_FIN | TH_ACK, p.seq - 1, p.ack, NULL, 0); // our last ACK was lost
    assert_int_equal(peer_only(&p)->ack, p.seq);
    peer_wait(&p, 50000000);
    assert_int_equal(waits(&p), 1);
    peer_wait(&p, 15000000);
    assert_int_equal(waits(&p), 0);
    peer_stop(&p);
}

// RFC 6191: which SYNs open a connection again.
static void test_time_wait_reuse(void **state)
{
    (void)state;
    static const struct {
        uint32_t old_stamp, stamp; // 0: no timestamps
        int32_t seq;               // from the last one seen
        bool opens;
    } cases[] = {
        {0, 0, 1, true},       {0, 0, 0, false},        {0, 0, -1, false},
        {0, 5, -1000, true},   {1000, 1001, 1, true},   {1000, 1001, -1000, true},
        {1000, 1000, 1, true}, {1000, 1000, -1, false}, {1000, 999, 1000, false},
        {1000, 0, 1, true},    {1000, 0, -1, false},    {0, 0, -(1 << 30), false},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        for (int full = 0; full < 2; full++) {
            struct peer p;
            struct net_config c = {.half_open_max = 4};
            peer_start(&p, &c);
            p.ts = cases[i].old_stamp;
            to_time_wait(&p);
            uint32_t snd_nxt = p.ack;
            p.ts = 0;
            for (int k = 0; full && k < 4; k++) {
                p.peer_port = (uint16_t)(5000 + k);
                peer_send_at(&p, TH_SYN, 1, 0, NULL, 0);
                peer_only(&p);
            }
            p.peer_port = PEER_PORT;
            p.now_us += 1000000;
            p.ts = cases[i].stamp;
            uint8_t options[40];
            p.options_len = peer_syn_options(&p, options, 1460, 7);
            p.options = options;
            peer_send_at(&p, TH_SYN, p.seq + (uint32_t)cases[i].seq, 0, NULL, 0);
            struct peer_segment *s = peer_only(&p);
            assert_int_equal(s->flags, cases[i].opens ? TH_SYN | TH_ACK : TH_ACK);
            assert_int_equal(waits(&p), !cases[i].opens);
            if (cases[i].opens) { // beyond all that the old one could have under way
                assert_true(seq_lt(snd_nxt + 65535, s->seq));
                assert_int_equal(s->options.has_scale, true); // no cookie
            }
            assert_int_equal(peer_count(&p)->tcp_cookies_sent, 0);
            peer_stop(&p);
        }
    }
}

// What may be half open beyond the queue because it was in TIME-WAIT is bounded too.
static void test_time_wait_flood(void **state)
{
    (void)state;
    struct peer p;
    struct net_config c = {.half_open_max = 8, .time_wait_max = 100};
    peer_start(&p, &c);
    for (int i = 0; i < 50; i++) {
        p.peer_port = (uint16_t)(4000 + i);
        p.seq = 1000;
        peer_open(&p);
        p.stream->ops->close(p.stream);
        p.ack = peer_only(&p)->seq + 1;
        peer_send(&p, TH_FIN | TH_ACK, NULL, 0);
        peer_turn(&p);
        p.stream->ops->release(p.stream);
        p.stream = NULL;
        p.events = 0;
    }
    for (int i = 0; i < 50; i++) {
        p.peer_port = (uint16_t)(4000 + i);
        peer_send_at(&p, TH_SYN, p.seq + 1000, 0, NULL, 0);
        p.n_out = 0;
        peer_turn(&p);
    }
    assert_int_equal(p.net->n_requests, 10);
    assert_int_equal(peer_count(&p)->tcp_syn_dropped, 40);
    peer_stop(&p);
}

// --- peers that take nothing, or little
// ------------------------------------------------------------------

static void put(struct peer *p, size_t n)
{
    static const uint8_t bytes[100000];
    while (n) {
        size_t part = n < sizeof(bytes) ? n : sizeof(bytes);
        out_write(&p->stream->out, bytes, part);
        n -= part;
    }
    p->stream->ops->push(p->stream);
}

// tcp-user-timeout (RFC 5482) counts from when the window closed with output waiting, though every
// probe is answered (RFC 9293 3.8.6.1 leaves the time to us; Linux does so for TCP_USER_TIMEOUT).
static void test_zero_window_for_ever(void **state)
{
    (void)state;
    for (int opens = 0; opens < 2; opens++) {
        struct peer p;
        struct net_config c = {.user_timeout_ms = 30000};
        peer_start(&p, &c);
        peer_open(&p);
        p.wnd = 0;
        peer_send(&p, TH_ACK, NULL, 0);
        put(&p, 5000);
        unsigned seconds = 0;
        while (seconds < 100 && !(p.events & STREAM_CLOSED)) {
            peer_wait(&p, 1000000);
            seconds++;
            p.wnd = 0;
            if (opens && seconds == 20) { // one byte's worth: progress, and the time begins anew
                p.wnd = 8;
                peer_send(&p, TH_ACK, NULL, 0);
                peer_wait(&p, 5000000);
                for (unsigned i = 0; i < p.n_out; i++)
                    if (p.out[i].len)
                        p.ack = p.out[i].seq + p.out[i].len;
                seconds += 5;
                p.wnd = 0;
            }
            peer_send(&p, TH_ACK, NULL, 0);
            peer_turn(&p);
        }
        assert_in_range(seconds, opens ? 50 : 30, opens ? 70 : 45); // probes back off
        assert_int_equal(p.stream->error, STREAM_TIMED_OUT);
        assert_int_equal(peer_count(&p)->tcp_user_timeouts, 1);
        p.stream->ops->release(p.stream);
        p.stream = NULL;
        p.events = 0;
        assert_int_equal(net_memory(p.net), 0);
        peer_stop(&p);
    }
}

// A tiny MSS makes headers of everything (CVE-2019-11479): 216 is the least that is honoured.
static void test_tiny_mss(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    net_listen(p.net, OUR_PORT, 64);
    send_syn(&p, 1, 0, false);
    peer_send(&p, TH_ACK, NULL, 0);
    peer_none(&p);
    put(&p, 2160);
    p.n_out = 0;
    peer_turn(&p);
    assert_int_equal(p.n_out, 10);
    assert_int_equal(p.out[0].len, 216);
    assert_int_equal(peer_count(&p)->tcp_mss_tiny, 1);
    peer_stop(&p);
}

enum { CROWD = 20 };

// Opens many connections; `streams` are in the order of their ports from 5000 on.
static void crowd(struct peer *p, struct stream **streams, uint32_t *seq, uint32_t *ack)
{
    for (unsigned i = 0; i < CROWD; i++) {
        p->peer_port = (uint16_t)(5000 + i);
        p->seq = 1000;
        peer_open(p);
        streams[i] = p->stream;
        seq[i] = p->seq;
        ack[i] = p->ack;
    }
    p->stream = NULL;
}

// Sockstress: windows closed with output waiting. Memory is bounded, and who takes nothing and
// holds most goes; who makes progress stays.
static void test_output_memory(void **state)
{
    (void)state;
    struct peer p;
    struct net_config c = {.send_memory_max = 2000000};
    peer_start(&p, &c);
    struct stream *streams[CROWD];
    uint32_t seq[CROWD], ack[CROWD];
    crowd(&p, streams, seq, ack);
    p.wnd = 0;
    for (unsigned i = 0; i < CROWD; i++) { // together below the bound
        p.peer_port = (uint16_t)(5000 + i);
        peer_send_at(&p, TH_ACK, seq[i], ack[i], NULL, 0);
        p.stream = streams[i];
        put(&p, i == 7 ? 300000 : 60000);
    }
    p.n_out = 0;
    peer_turn(&p);
    peer_wait(&p, 5000000);
    assert_int_equal(peer_count(&p)->tcp_shed_output, 0);
    // One more asks for much: the worst of those that have stood for long goes, not the newest.
    p.stream = streams[3];
    put(&p, 800000);
    p.n_out = 0;
    peer_turn(&p);
    assert_int_equal(peer_count(&p)->tcp_shed_output, 1);
    assert_true(p.net->tx_memory <= 2000000);
    assert_true(streams[3]->error == STREAM_NO_MEMORY);
    assert_true(streams[7]->error == STREAM_OK);
    // And when nobody else is left, twice the bound is the end for anyone.
    p.stream = streams[5];
    for (int i = 0; i < 5; i++) {
        put(&p, 1000000);
        p.n_out = 0;
        peer_turn(&p);
        assert_true(p.net->tx_memory <= 4000000);
    }
    assert_true(peer_count(&p)->tcp_shed_output >= 2);
    p.stream = NULL;
    peer_stop(&p);
}

// Half requests that nobody can use fill the receive memory: the one that holds most makes room.
static void test_input_memory(void **state)
{
    (void)state;
    struct peer p;
    struct net_config c = {.receive_memory_max = 200000, .receive_buffer_max = 65536};
    peer_start(&p, &c);
    struct stream *streams[CROWD];
    uint32_t seq[CROWD], ack[CROWD];
    crowd(&p, streams, seq, ack);
    uint8_t data[1000] = {0};
    for (unsigned k = 0; k < 60; k++)
        for (unsigned i = 0; i < CROWD; i++) {
            if (k >= (i == 4 ? 40u : 15u))
                continue;
            p.peer_port = (uint16_t)(5000 + i);
            peer_send_at(&p, TH_ACK, seq[i], ack[i], data, sizeof(data));
            seq[i] += sizeof(data);
            p.n_out = 0;
            peer_turn(&p);
            assert_true(p.net->rx_memory <= 220000);
        }
    assert_true(peer_count(&p)->tcp_shed_input >= 1);
    assert_true(peer_count(&p)->tcp_shed_input < CROWD);
    unsigned left = 0;
    for (unsigned i = 0; i < CROWD; i++)
        left += streams[i]->error == STREAM_OK;
    assert_int_equal(left, CROWD - peer_count(&p)->tcp_shed_input);
    peer_stop(&p);
}

// Replies that are never acknowledged hold transmit frames until a time-out. When the pool is
// empty, who has held longest without a word goes, and others are served.
static void test_frames_held(void **state)
{
    (void)state;
    struct peer p;
    struct net_config c = {0};
    peer_start(&p, &c);
    struct stream *streams[CROWD];
    uint32_t seq[CROWD], ack[CROWD];
    crowd(&p, streams, seq, ack);
    p.pool.limit = 120;
    for (unsigned i = 1; i < CROWD; i++) {
        p.stream = streams[i];
        put(&p, 14000);
        p.n_out = 0;
        peer_turn(&p);
    }
    p.stream = NULL;
    peer_wait(&p, 3000000);
    uint64_t gone = peer_count(&p)->tcp_shed_frames;
    assert_in_range(gone, 1, CROWD - 2);
    p.stream = streams[0];
    put(&p, 5000);
    p.n_out = 0;
    for (int i = 0; i < 4; i++)
        peer_wait(&p, 10000);
    assert_int_equal(streams[0]->error, STREAM_OK);
    assert_true(((struct tcp *)streams[0])->snd_nxt != ack[0]);
    p.stream = NULL;
    peer_stop(&p);
}

// Closed by their owner, kept by their peers (in FIN-WAIT and LAST-ACK): bounded, oldest first; and
// a new connection comes before any of them.
static void test_orphans(void **state)
{
    (void)state;
    for (int full = 0; full < 2; full++) {
        struct peer p;
        struct net_config c = {.orphans_max = full ? 100 : 5,
                               .connections_max = full ? CROWD : 100};
        peer_start(&p, &c);
        struct stream *streams[CROWD];
        uint32_t seq[CROWD], ack[CROWD];
        crowd(&p, streams, seq, ack);
        for (unsigned i = 0; i < CROWD; i++) {
            streams[i]->ops->close(streams[i]);
            p.now_us += 500000;
            p.n_out = 0;
            peer_turn(&p);
        }
        assert_int_equal(p.net->n_orphans, full ? CROWD : 5);
        assert_int_equal(peer_count(&p)->tcp_orphans_dropped, full ? 0 : CROWD - 5);
        if (full) {
            p.peer_port = 6000;
            p.seq = 1;
            streams[0]->ops->info(streams[0], &(struct stream_info){0});
            peer_send(&p, TH_SYN, NULL, 0);
            p.n_out = 0;
            peer_turn(&p);
            assert_int_equal(peer_count(&p)->tcp_orphans_dropped, 1);
            assert_int_equal(streams[0]->error, STREAM_NO_MEMORY);
        }
        peer_stop(&p);
    }
}

// --- segments made to cost
// ----------------------------------------------------------------------------------

// Options that are many, odd or broken: read in one pass over at most 40 bytes.
static void test_option_bombs(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    peer_open(&p);
    static const struct {
        uint8_t bytes[40];
        bool good;
    } bombs[] = {
        {{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
          1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
         true},
        {{253, 2, 253, 2, 253, 2, 253, 2, 253, 2, 253, 2, 253, 2, 253, 2, 253, 2, 253, 2,
          253, 2, 253, 2, 253, 2, 253, 2, 253, 2, 253, 2, 253, 2, 253, 2, 253, 2, 253, 2},
         true},
        {{2, 4, 5, 180, 2, 4, 0, 1, 2, 4, 0, 0, 3, 3, 14, 3, 3, 255, 4, 2,
          4, 2, 4, 2,   2, 4, 0, 8, 2, 4, 0, 8, 2, 4, 0,  8, 2, 4,   0, 8},
         true},
        {{0}, true},
        {{254, 40}, true},
        {{254, 41}, false}, // beyond the header
        {{254, 0}, false},  // would never end
        {{254, 1}, false},  // is shorter than itself
        {{2, 3, 1}, false}, // an MSS of one byte
        {{8, 9}, false},    // timestamps cut off
        {{5, 9}, false},    // a block and a half of SACK
        {{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
          1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 8},
         false},
    };
    uint64_t bad = 0;
    for (unsigned i = 0; i < sizeof(bombs) / sizeof(*bombs); i++) {
        p.options = bombs[i].bytes;
        p.options_len = 40;
        uint32_t before = ((struct tcp *)p.stream)->rcv_nxt;
        peer_send_at(&p, TH_ACK, p.seq, p.ack, "x", 1);
        peer_turn(&p);
        bool taken = ((struct tcp *)p.stream)->rcv_nxt != before;
        assert_int_equal(taken, bombs[i].good);
        p.seq += taken;
        bad += !bombs[i].good;
        assert_int_equal(peer_count(&p)->tcp_bad_option, bad);
    }
    peer_stop(&p);
}

// Bytes out of order one by one: memory follows what they take and not how many segments there
// were.
static void test_tiny_segments(void **state)
{
    (void)state;
    struct peer p;
    struct net_config c = {.receive_buffer_max = 65536};
    peer_start(&p, &c);
    peer_open(&p);
    enum { BYTES = 20000 };
    for (uint32_t i = 1; i < BYTES; i++) {
        uint8_t byte = (uint8_t)(i * 7);
        peer_send_at(&p, TH_ACK, p.seq + i, p.ack, &byte, 1);
        if (i % 64 == 0) { // and some again, with other bytes: what came first stays
            peer_send_at(&p, TH_ACK, p.seq + i - 50, p.ack, "################", 16);
            p.n_out = 0;
            peer_turn(&p);
        }
    }
    assert_true(net_memory(p.net) < BYTES + BYTES / 4 + 4096);
    peer_send_at(&p, TH_ACK, p.seq, p.ack, "\0", 1);
    p.n_out = 0;
    uint32_t got = 0;
    peer_turn(&p);
    while (p.stream->in_len) {
        for (uint32_t i = 0; i < p.stream->in_len; i++)
            assert_int_equal(p.stream->in[i], (uint8_t)((got + i) * 7));
        got += p.stream->in_len;
        stream_consume(p.stream, p.stream->in_len);
    }
    assert_int_equal(got, BYTES);
    // Gaps between all of them: 64 ranges, and twice the buffer at most.
    for (uint32_t i = 0; i < 1000; i++) {
        peer_send_at(&p, TH_ACK, p.seq + BYTES + 2 + 40 * i, p.ack, "y", 1);
        if (i % 64 == 0) {
            p.n_out = 0;
            peer_turn(&p);
        }
    }
    p.n_out = 0;
    peer_turn(&p);
    assert_true(net_memory(p.net) < 64 * 256 + 4096);
    peer_stop(&p);
}

// --- packets that nobody sane sends
// ----------------------------------------------------------------------------

static void ip_raw(struct peer *p, const uint8_t src[4], const uint8_t dst[4], uint16_t fragment,
                   bool options, uint8_t ttl, const uint8_t mac[6])
{
    uint8_t f[14 + 24 + 20] = {0}, *ip = f + 14, *tcp = ip + (options ? 24 : 20);
    uint32_t header = options ? 24 : 20;
    memcpy(f, mac ? mac : (const uint8_t[6]){2, 0, 0, 0, 0, 1}, 6);
    memcpy(f + 6, (const uint8_t[6]){2, 0, 0, 0, 0, 9}, 6);
    store_be16(f + 12, ETHERTYPE_IPV4);
    ip[0] = options ? 0x46 : 0x45;
    store_be16(ip + 2, (uint16_t)(header + 20));
    store_be16(ip + 6, fragment);
    ip[8] = ttl;
    ip[9] = PROTOCOL_TCP;
    memcpy(ip + 12, src, 4);
    memcpy(ip + 16, dst, 4);
    if (options)
        memset(ip + 20, 1, 4);
    uint16_t sum = (uint16_t)~net_sum_fold(net_sum(ip, header, 0));
    memcpy(ip + 10, &sum, 2);
    store_be16(tcp, PEER_PORT);
    store_be16(tcp + 2, OUR_PORT);
    tcp[12] = 0x50;
    tcp[13] = TH_SYN;
    store_be16(tcp + 14, 1000);
    uint8_t pseudo[12] = {0};
    memcpy(pseudo, src, 4);
    memcpy(pseudo + 4, dst, 4);
    pseudo[9] = PROTOCOL_TCP;
    pseudo[11] = 20;
    sum = (uint16_t)~net_sum_fold(net_sum(tcp, 20, net_sum(pseudo, 12, 0)));
    memcpy(tcp + 16, &sum, 2);
    peer_raw(p, f, 14 + header + 20);
}

// RFC 1122 3.2.1.3, RFC 1812 5.3.7: addresses that cannot be; RFC 791 fragments and options; SYNs
// to all (RFC 9293 3.9.2.3). Each is counted by its cause, and none is answered.
static void test_strange_packets(void **state)
{
    (void)state;
    struct peer p;
    struct net_config c = {.gateway = {.family = 4, .addr = {10, 0, 0, 9}}};
    peer_start(&p, &c);
    net_listen(p.net, OUR_PORT, 64);
    const struct net_counters *n = peer_count(&p);
    static const uint8_t us[4] = {10, 0, 0, 1}, peer[4] = {10, 0, 0, 9};
    static const uint8_t from[][4] = {{10, 0, 0, 1},        {0, 0, 0, 0},   {127, 0, 0, 1},
                                      {224, 0, 0, 1},       {239, 1, 2, 3}, {240, 0, 0, 1},
                                      {255, 255, 255, 255}, {10, 0, 0, 0},  {10, 0, 0, 255}};
    for (unsigned i = 0; i < sizeof(from) / 4; i++)
        ip_raw(&p, from[i], us, 0, false, 64, NULL); // the first of them is LAND
    assert_int_equal(n->ip_martian, sizeof(from) / 4);
    static const uint8_t to[][4] = {{10, 0, 0, 255}, {255, 255, 255, 255}, {224, 0, 0, 1},
                                    {127, 0, 0, 1},  {0, 0, 0, 0},         {10, 0, 0, 2}};
    for (unsigned i = 0; i < sizeof(to) / 4; i++)
        ip_raw(&p, peer, to[i], 0, false, 64, NULL);
    ip_raw(&p, peer, us, 0, false, 64, (const uint8_t[6]){255, 255, 255, 255, 255, 255});
    ip_raw(&p, peer, us, 0, false, 64, (const uint8_t[6]){1, 0, 0x5e, 0, 0, 1});
    ip_raw(&p, peer, us, 0, false, 64, (const uint8_t[6]){2, 0, 0, 0, 0, 77});
    assert_int_equal(n->drop_not_ours, sizeof(to) / 4 + 3);
    ip_raw(&p, peer, us, 0x2000, false, 64, NULL); // more fragments
    ip_raw(&p, peer, us, 0x0001, false, 64, NULL); // not the first
    ip_raw(&p, peer, us, 0x3fff, false, 64, NULL);
    assert_int_equal(n->ip_fragment, 3);
    ip_raw(&p, peer, us, 0, true, 64, NULL);
    assert_int_equal(n->ip_options, 1);
    ip_raw(&p, peer, us, 0, false, 0, NULL);
    assert_int_equal(n->ip_ttl, 1);
    peer_none(&p);
    assert_int_equal(net_connection_count(p.net), 0);
    ip_raw(&p, peer, us, 0x4000, false, 1, NULL); // and this is one as it should be
    assert_int_equal(peer_only(&p)->flags, TH_SYN | TH_ACK);
    peer_stop(&p);
}

// Flags that make no sense, to a listener, to a closed port and to a connection (RFC 9293 3.10.7).
static void test_scans(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    net_listen(p.net, OUR_PORT, 64);
    const struct net_counters *n = peer_count(&p);
    static const uint8_t quiet[] = {0, TH_FIN, TH_FIN | TH_PSH | TH_URG, TH_PSH, TH_URG};
    for (unsigned i = 0; i < sizeof(quiet); i++)
        peer_send_at(&p, quiet[i], 100, 0, NULL, 0);
    peer_none(&p);
    assert_int_equal(n->tcp_no_ack, sizeof(quiet));
    peer_send_at(&p, TH_SYN | TH_FIN, 100, 0, NULL, 0);
    peer_send_at(&p, TH_SYN | TH_RST, 100, 0, NULL, 0);
    peer_send_at(&p, 0xff, 100, 5, NULL, 0);
    peer_none(&p);
    assert_int_equal(n->tcp_syn_bad, 1);
    peer_send_at(&p, TH_ACK, 100, 77, NULL, 0); // an ACK scan gets what the RFC says
    assert_int_equal(peer_only(&p)->flags, TH_RST);
    p.port = OUR_PORT + 1;
    for (unsigned i = 0; i < sizeof(quiet); i++) {
        peer_send_at(&p, quiet[i], 100, 0, NULL, 0);
        assert_int_equal(peer_only(&p)->flags, TH_RST | TH_ACK);
    }
    assert_int_equal(n->tcp_no_port, sizeof(quiet));
    p.port = OUR_PORT;
    p.peer_port = 0; // port 0 is nobody's
    peer_send_at(&p, TH_SYN, 100, 0, NULL, 0);
    peer_none(&p);
    assert_int_equal(n->tcp_bad_header, 1);
    p.peer_port = PEER_PORT;
    peer_open(&p);
    for (unsigned i = 0; i < sizeof(quiet); i++)
        peer_send_at(&p, quiet[i], p.seq, 0, NULL, 0);
    peer_none(&p);
    assert_int_equal(n->tcp_no_ack, 2 * sizeof(quiet));
    assert_int_equal(p.events & (STREAM_EOF | STREAM_CLOSED), 0);
    // Urgent data is data (RFC 6093), and counted.
    peer_send(&p, TH_ACK | TH_URG, "abc", 3);
    peer_turn(&p);
    assert_int_equal(p.stream->in_len, 3);
    assert_memory_equal(p.stream->in, "abc", 3);
    assert_true(n->tcp_urgent >= 1);
    peer_stop(&p);
}

// Headers whose lengths lie, sums that are wrong, bits that are reserved (RFC 9293 3.1).
static void test_bad_headers(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    net_listen(p.net, OUR_PORT, 64);
    const struct net_counters *n = peer_count(&p);
    static const uint8_t offsets[] = {0x00, 0x10, 0x40, 0x60, 0xf0};
    uint8_t tcp[40] = {PEER_PORT >> 8, PEER_PORT & 255, OUR_PORT >> 8, OUR_PORT & 255};
    tcp[13] = TH_SYN;
    for (unsigned i = 0; i < sizeof(offsets); i++) {
        tcp[12] = offsets[i];
        peer_ip(&p, PROTOCOL_TCP, tcp, 20);
    }
    for (uint32_t len = 0; len < 20; len++)
        peer_ip(&p, PROTOCOL_TCP, tcp, len);
    assert_int_equal(n->tcp_bad_header, sizeof(offsets) + 20);
    tcp[12] = 0x50;
    for (unsigned i = 0; i < 8; i++) {
        tcp[16] = (uint8_t)(i * 33 + 1);
        peer_ip(&p, PROTOCOL_TCP, tcp, 20);
    }
    assert_int_equal(n->tcp_bad_sum + n->tcp_partial_sum, 8);
    peer_none(&p);
    // Reserved bits are ignored.
    tcp[12] = 0x5f;
    memset(tcp + 16, 0, 2);
    uint8_t pseudo[12] = {10, 0, 0, 9, 10, 0, 0, 1, 0, 6, 0, 20};
    uint16_t sum = (uint16_t)~net_sum_fold(net_sum(tcp, 20, net_sum(pseudo, 12, 0)));
    memcpy(tcp + 16, &sum, 2);
    peer_ip(&p, PROTOCOL_TCP, tcp, 20);
    assert_int_equal(peer_only(&p)->flags, TH_SYN | TH_ACK);
    peer_stop(&p);
}

// RFC 6864 4.1: identifications of packets that may not be fragmented tell nothing, least of all
// how much was sent to others (idle scans).
static void test_identification(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    for (unsigned i = 0; i < 5; i++) {
        peer_send_at(&p, TH_ACK, i, i, NULL, 0);
        struct peer_segment *s = peer_only(&p);
        assert_int_equal(load_be16(s->raw + 14 + 4), 0);
        assert_int_equal(load_be16(s->raw + 14 + 6), 0x4000);
    }
    peer_stop(&p);
}

static void accept_all(void *context, struct wire *w, unsigned i)
{
    struct stream *ready[64];
    unsigned n = net_ready(w->net[i], ready, 64);
    for (unsigned k = 0; k < n; k++) {
        assert_int_equal(ready[k]->events & STREAM_CLOSED, 0);
        if (i == 0 && (ready[k]->events & STREAM_ACCEPTED)) {
            struct stream_info info;
            ready[k]->ops->info(ready[k], &info);
            ++*(unsigned *)context;
            assert_int_equal(info.mss % 4, 0); // 1440 or 1460 and the timestamps
            assert_true(info.snd_wnd > 65535); // the scale came back
        }
        ready[k]->events = 0;
    }
}

// Cookies between two whole stacks, over IPv4 and IPv6: more clients at once than the queue holds.
static void test_cookies_between_stacks(void **state)
{
    (void)state;
    enum { CLIENTS = 50 };
    for (uint8_t family = 4; family <= 6; family += 2) {
        struct wire w;
        struct wire_conditions conditions = {.delay_us = 500};
        struct net_config config = {.half_open_max = 2, .addresses[0].family = family};
        unsigned accepted = 0;
        wire_init(&w, 7, &conditions, &config, 2000);
        wire_run(&w, w.now_us + 3000000, NULL, NULL); // IPv6 addresses are looked for first
        net_listen(w.net[0], OUR_PORT, 64);
        for (unsigned i = 0; i < CLIENTS; i++) {
            struct endpoint to;
            int error;
            wire_endpoint(&w, &to, 0, OUR_PORT);
            assert_non_null(net_connect(w.net[1], &to, &error));
        }
        wire_run(&w, w.now_us + 5000000, accept_all, &accepted);
        const struct net_counters *n = net_counters(w.net[0]);
        assert_int_equal(accepted, CLIENTS);
        assert_true(n->tcp_cookies_accepted >= CLIENTS / 2);
        assert_int_equal(n->tcp_cookies_failed, 0);
        assert_int_equal(wire_free(&w), 0);
    }
}

// What strangers get from us is limited: resets as well (RFC 9293 3.10.7.1 sets no number).
static void test_reset_limit(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    unsigned sent = 0;
    for (unsigned i = 0; i < 5000; i++) {
        peer_send_at(&p, TH_ACK, i, i, NULL, 0);
        if (i % 100 == 99) {
            p.n_out = 0;
            peer_turn(&p);
            sent += p.n_out;
        }
    }
    assert_in_range(sent, 100, 1100);
    assert_int_equal(peer_count(&p)->tcp_reset_limited, 5000 - sent);
    peer_stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cookie_plain),
        cmocka_unit_test(test_cookie_stamps),
        cmocka_unit_test(test_cookie_guesses),
        cmocka_unit_test(test_cookie_age),
        cmocka_unit_test(test_flood_from_link),
        cmocka_unit_test(test_flood_frames),
        cmocka_unit_test(test_no_amplification),
        cmocka_unit_test(test_syn_ack_repeated),
        cmocka_unit_test(test_backlog),
        cmocka_unit_test(test_admit_late),
        cmocka_unit_test(test_request_attacks),
        cmocka_unit_test(test_rst_attack),
        cmocka_unit_test(test_syn_attack),
        cmocka_unit_test(test_data_attack),
        cmocka_unit_test(test_paws_flood),
        cmocka_unit_test(test_challenge_limit),
        cmocka_unit_test(test_initial_sequence),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_time_wait_assassination),
        cmocka_unit_test(test_time_wait_reuse),
        cmocka_unit_test(test_time_wait_flood),
        cmocka_unit_test(test_zero_window_for_ever),
        cmocka_unit_test(test_tiny_mss),
        cmocka_unit_test(test_output_memory),
        cmocka_unit_test(test_input_memory),
        cmocka_unit_test(test_frames_held),
        cmocka_unit_test(test_orphans),
        cmocka_unit_test(test_option_bombs),
        cmocka_unit_test(test_tiny_segments),
        cmocka_unit_test(test_strange_packets),
        cmocka_unit_test(test_scans),
        cmocka_unit_test(test_bad_headers),
        cmocka_unit_test(test_reset_limit),
        cmocka_unit_test(test_identification),
        cmocka_unit_test(test_cookies_between_stacks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
