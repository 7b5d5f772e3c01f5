// Ends of connections: orderly, at once, half closed, aborted, reset; TIME_WAIT; blind resets.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/net/peer.h"

static const char *state_of(struct peer *p)
{
    static struct stream_info info;
    p->stream->ops->info(p->stream, &info);
    return info.state;
}

static struct {
    unsigned n;
    char state[16];
} listed;
static bool list(void *context, const struct stream_info *info)
{
    (void)context;
    listed.n++;
    strcpy(listed.state, info->state);
    return true;
}
static unsigned connections(struct peer *p)
{
    uint64_t cursor = 0;
    listed.n = 0;
    do
        net_each_connection(p->net, &cursor, 1, list, NULL);
    while (cursor);
    return listed.n;
}

// We close first: FIN, its FIN, TIME_WAIT for a minute.
static void test_active_close(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    p.ts = 100;
    peer_open(&p);
    out_write(&p.stream->out, "bye", 3);
    p.stream->ops->close(p.stream);
    struct peer_segment *r = peer_only(&p);
    assert_true(r->len == 3 && (r->flags & TH_FIN)); // the FIN travels with the last bytes
    assert_string_equal(state_of(&p), "FIN-WAIT-1");
    p.ack += 4;
    peer_send(&p, TH_ACK, NULL, 0);
    peer_none(&p);
    assert_string_equal(state_of(&p), "FIN-WAIT-2");
    peer_send(&p, TH_FIN | TH_ACK, NULL, 0);
    r = peer_only(&p);
    assert_true(r->flags == TH_ACK && r->ack == p.seq && r->seq == p.ack);
    assert_true(p.events & STREAM_CLOSED);
    assert_int_equal(p.stream->error, STREAM_OK);
    assert_int_equal(net_connection_count(p.net), 0);
    assert_int_equal(connections(&p), 1);
    assert_string_equal(listed.state, "TIME-WAIT");
    // Its FIN again: acknowledged again. A RST ends nothing (RFC 1337).
    peer_send_at(&p, TH_FIN | TH_ACK, p.seq - 1, p.ack, NULL, 0);
    assert_int_equal(peer_only(&p)->ack, p.seq);
    peer_send_at(&p, TH_RST, p.seq, 0, NULL, 0);
    peer_send_at(&p, TH_ACK, p.seq, p.ack, NULL, 0);
    peer_none(&p);
    assert_int_equal(connections(&p), 1);
    peer_wait(&p, 59000000);
    assert_int_equal(connections(&p), 1);
    peer_wait(&p, 2000000);
    assert_int_equal(connections(&p), 0);
    peer_stop(&p);
}

// The peer closes first; we may go on writing.
static void test_passive_close(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    peer_open(&p);
    peer_send(&p, TH_FIN | TH_ACK | TH_PSH, "last", 4);
    assert_int_equal(peer_only(&p)->ack, p.seq);
    assert_int_equal(p.events, STREAM_ACCEPTED | STREAM_READABLE | STREAM_EOF);
    assert_int_equal(p.stream->in_len, 4);
    assert_string_equal(state_of(&p), "CLOSE-WAIT");
    stream_consume(p.stream, 4);
    out_write(&p.stream->out, "still here", 10);
    p.stream->ops->push(p.stream);
    assert_int_equal(peer_only(&p)->len, 10);
    p.ack += 10;
    peer_send(&p, TH_ACK, NULL, 0);
    p.stream->ops->close(p.stream);
    struct peer_segment *r = peer_only(&p);
    assert_true(r->flags == (TH_FIN | TH_ACK) && r->seq == p.ack);
    assert_string_equal(state_of(&p), "LAST-ACK");
    peer_wait(&p, 250000);
    assert_int_equal(p.n_out, 1); // the FIN again
    assert_true(p.out[0].flags & TH_FIN && p.out[0].seq == p.ack);
    p.ack++;
    peer_send(&p, TH_ACK, NULL, 0);
    peer_none(&p);
    assert_true(p.events & STREAM_CLOSED);
    assert_int_equal(p.stream->error, STREAM_OK);
    assert_int_equal(connections(&p), 0);
    peer_stop(&p);
}

static void test_simultaneous_close(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    peer_open(&p);
    p.stream->ops->close(p.stream);
    assert_true(peer_only(&p)->flags & TH_FIN);
    peer_send(&p, TH_FIN | TH_ACK, NULL, 0); // crosses ours
    assert_int_equal(peer_only(&p)->ack, p.seq);
    assert_string_equal(state_of(&p), "CLOSING");
    p.ack++;
    peer_send(&p, TH_ACK, NULL, 0);
    peer_none(&p);
    assert_true(p.events & STREAM_CLOSED);
    assert_int_equal(connections(&p), 1);
    assert_string_equal(listed.state, "TIME-WAIT");
    peer_stop(&p);
}

// A peer that never closes its side does not hold us.
static void test_fin_wait_2_ends(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    peer_open(&p);
    p.stream->ops->close(p.stream);
    peer_turn(&p);
    p.ack++;
    peer_send(&p, TH_ACK, NULL, 0);
    peer_wait(&p, 62000000);
    assert_true(p.events & STREAM_CLOSED);
    assert_int_equal(connections(&p), 0);
    peer_stop(&p);
}

static void test_abort(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    peer_open(&p);
    static uint8_t data[100000];
    out_write(&p.stream->out, data, sizeof(data));
    p.stream->ops->push(p.stream);
    p.n_out = 0;
    peer_turn(&p);
    uint32_t end = p.out[p.n_out - 1].seq + p.out[p.n_out - 1].len;
    p.stream->ops->abort(p.stream);
    struct peer_segment *r = peer_only(&p);
    assert_true((r->flags & TH_RST) && r->seq == end);
    assert_true(p.events & STREAM_CLOSED);
    assert_int_equal(p.stream->error, STREAM_ABORTED);
    // A closed stream forgives.
    out_write(&p.stream->out, data, sizeof(data));
    p.stream->ops->push(p.stream);
    p.stream->ops->close(p.stream);
    p.stream->ops->abort(p.stream);
    p.stream->ops->keepalive(p.stream, 5);
    assert_int_equal(p.stream->ops->unsent(p.stream), 0);
    assert_string_equal(state_of(&p), "CLOSED");
    peer_none(&p);
    assert_int_equal(net_memory(p.net), sizeof(struct tcp));
    peer_stop(&p);
}

// The frame of a write that was aborted before the port took it goes back all the same.
static void test_abort_in_the_turn(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    peer_open(&p);
    out_write(&p.stream->out, "abc", 3);
    p.stream->ops->push(p.stream);
    out_write(&p.stream->out, "def", 3);
    p.stream->ops->abort(p.stream);
    p.stream->ops->release(p.stream);
    p.stream = NULL;
    p.n_out = 0;
    peer_turn(&p);
    assert_int_equal(p.n_out, 2); // "abc" and the reset
    assert_true(p.out[1].flags & TH_RST);
    peer_stop(&p);
}

// Bytes that nobody will read: the peer is told by a reset (RFC 1122 4.2.2.13).
static void test_close_unread(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    peer_open(&p);
    peer_send(&p, TH_ACK, "unread", 6);
    p.stream->ops->close(p.stream);
    assert_true(peer_only(&p)->flags & TH_RST);
    assert_true(p.events & STREAM_CLOSED);
    p.stream->ops->release(p.stream);
    p.events = 0;
    // The same when they come after the close.
    p.peer_port++;
    p.seq = 7000;
    peer_open(&p);
    p.stream->ops->close(p.stream);
    peer_turn(&p);
    p.ack++;
    peer_send(&p, TH_ACK, "late", 4);
    assert_true(peer_only(&p)->flags & TH_RST);
    assert_true(p.events & STREAM_CLOSED);
    peer_stop(&p);
}

static void test_reset(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    peer_open(&p);
    // Outside of the window: nothing. Inside, but not exact: a challenge (RFC 5961 3.2).
    peer_send_at(&p, TH_RST, p.seq - 1, 0, NULL, 0);
    peer_send_at(&p, TH_RST, p.seq + 0x20000000, 0, NULL, 0);
    peer_none(&p);
    assert_int_equal(peer_count(&p)->tcp_reset_bad, 2);
    peer_send_at(&p, TH_RST, p.seq + 10, 0, NULL, 0);
    struct peer_segment *r = peer_only(&p);
    assert_true(r->flags == TH_ACK && r->ack == p.seq);
    for (int i = 0; i < 100; i++) // and no more of them than one in a while
        peer_send_at(&p, TH_RST, p.seq + 10, 0, NULL, 0);
    peer_none(&p);
    assert_int_equal(peer_count(&p)->tcp_challenge_limited, 100);
    assert_string_equal(state_of(&p), "ESTABLISHED");
    peer_send(&p, TH_RST, NULL, 0);
    peer_none(&p);
    assert_true(p.events & STREAM_CLOSED);
    assert_int_equal(p.stream->error, STREAM_RESET);
    peer_stop(&p);
}

// A SYN inside a connection is challenged, never believed (RFC 5961 4.2).
static void test_syn_inside(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    peer_open(&p);
    peer_send_at(&p, TH_SYN, p.seq, 0, NULL, 0);
    struct peer_segment *r = peer_only(&p);
    assert_true(r->flags == TH_ACK && r->ack == p.seq);
    p.now_us += 1000000;
    peer_send_at(&p, TH_SYN, 0x70000000, 0, NULL, 0);
    assert_int_equal(peer_only(&p)->flags, TH_ACK);
    assert_string_equal(state_of(&p), "ESTABLISHED");
    peer_stop(&p);
}

static void make_time_wait(struct peer *p)
{
    peer_open(p);
    p->stream->ops->close(p->stream);
    p->n_out = 0;
    peer_turn(p);
    p->ack++;
    peer_send(p, TH_FIN | TH_ACK, NULL, 0);
    p->n_out = 0;
    peer_turn(p);
    assert_true(p->events & STREAM_CLOSED);
    p->stream->ops->release(p->stream);
    p->stream = NULL;
    p->events = 0;
}

static void test_time_wait_reuse(void **state)
{
    (void)state;
    for (int stamps = 0; stamps < 2; stamps++) {
        struct peer p;
        peer_start(&p, NULL);
        p.ts = stamps ? 1000 : 0;
        make_time_wait(&p);
        uint32_t old = p.ack, used = p.seq;
        // An old SYN: answered with an acknowledgement, nothing opened.
        uint8_t options[40];
        if (stamps)
            p.ts = 999;
        p.options_len = peer_syn_options(&p, options, 1460, 7);
        p.options = options;
        peer_send_at(&p, TH_SYN, stamps ? used + 100 : used - 100, 0, NULL, 0);
        assert_int_equal(peer_only(&p)->flags, TH_ACK);
        // A new one: by its timestamp, or by its number (RFC 6191).
        if (stamps)
            p.ts = 1001;
        p.seq = stamps ? used - 50000 : used + 1;
        peer_open(&p);
        assert_true(seq_lt(old, p.ack)); // beyond the old incarnation
        assert_int_equal(connections(&p), 1);
        assert_string_equal(listed.state, "ESTABLISHED");
        peer_stop(&p);
    }
}

static void test_time_wait_bound(void **state)
{
    (void)state;
    struct peer p;
    struct net_config c = {.time_wait_max = 10};
    peer_start(&p, &c);
    for (int i = 0; i < 100; i++) {
        p.peer_port = (uint16_t)(5000 + i);
        make_time_wait(&p);
    }
    assert_int_equal(connections(&p), 10);
    assert_int_equal(peer_count(&p)->tcp_time_wait_recycled, 90);
    peer_wait(&p, 61000000);
    assert_int_equal(connections(&p), 0);
    assert_int_equal(net_memory(p.net), 0);
    peer_wait(&p, 1200000000); // the neighbour is forgotten as well
    assert_true(net_next_timer(p.net) == UINT64_MAX);
    peer_stop(&p);
}

// FIN before the data in front of it: counts when the gap is filled, and once.
static void test_fin_out_of_order(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    peer_open(&p);
    peer_send_at(&p, TH_FIN | TH_ACK, p.seq + 3, p.ack, "def", 3);
    assert_int_equal(peer_only(&p)->ack, p.seq);
    assert_int_equal(p.events, STREAM_ACCEPTED);
    peer_send(&p, TH_ACK, "abc", 3);
    p.n_out = 0;
    peer_turn(&p);
    assert_int_equal(p.out[0].ack, p.seq + 4);
    assert_true(p.events & STREAM_EOF);
    p.seq += 3;
    peer_send(&p, TH_FIN | TH_ACK, NULL, 0);
    assert_int_equal(peer_only(&p)->ack, p.seq);
    peer_stop(&p);
}

// A connection that ends while its events were not looked at; destroying a stack full of
// everything.
static void test_destroy(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    static uint8_t data[50000];
    for (int i = 0; i < 20; i++) {
        p.peer_port = (uint16_t)(5000 + i);
        peer_open(&p);
        out_write(&p.stream->out, data, sizeof(data));
        if (i % 2)
            p.stream->ops->push(p.stream);
        peer_send_at(&p, TH_ACK, p.seq + 5, p.ack, "gap", 3);
        peer_send(&p, TH_ACK, "abc", 3);
        if (i % 5 == 0)
            p.stream->ops->abort(p.stream);
        p.n_out = 0;
        if (i < 19) // the last turn is never ended
            peer_turn(&p);
    }
    p.stream = NULL;
    peer_stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_active_close),
        cmocka_unit_test(test_passive_close),
        cmocka_unit_test(test_simultaneous_close),
        cmocka_unit_test(test_fin_wait_2_ends),
        cmocka_unit_test(test_abort),
        cmocka_unit_test(test_abort_in_the_turn),
        cmocka_unit_test(test_close_unread),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_syn_inside),
        cmocka_unit_test(test_time_wait_reuse),
        cmocka_unit_test(test_time_wait_bound),
        cmocka_unit_test(test_fin_out_of_order),
        cmocka_unit_test(test_destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
