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
    for (unsigned i = 0; i < sizeof(off) / sizeof(*off); i++) {
        // Another number of ours, another of the peer's, another port: none is right.
        peer_send_at(&p, TH_ACK, p.seq, p.ack + (uint32_t)off[i], NULL, 0);
        struct peer_segment *s = peer_only(&p);
        assert_true(s->flags == TH_RST && s->seq == p.ack + (uint32_t)off[i]);
        peer_send_at(&p, TH_ACK, p.seq + (uint32_t)off[i], p.ack, NULL, 0);
        assert_int_equal(peer_only(&p)->flags, TH_RST);
        p.peer_port++;
        peer_send_at(&p, TH_ACK, p.seq, p.ack, NULL, 0);
        assert_int_equal(peer_only(&p)->flags, TH_RST);
    }
    assert_int_equal(peer_count(&p)->tcp_cookies_failed, 3 * sizeof(off) / sizeof(*off));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cookie_plain),     cmocka_unit_test(test_cookie_stamps),
        cmocka_unit_test(test_cookie_guesses),   cmocka_unit_test(test_cookie_age),
        cmocka_unit_test(test_no_amplification), cmocka_unit_test(test_syn_ack_repeated),
        cmocka_unit_test(test_backlog),          cmocka_unit_test(test_admit_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
