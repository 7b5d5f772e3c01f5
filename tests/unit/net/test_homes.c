// Several stacks behind one address: what one stack says to the others, and what it makes of what
// they say. The stack under test is number 0 of three; the others are this file.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/net/peer.h"

enum { STACKS = 3, MAILS_MAX = 64 };

static struct sent {
    struct net_mail mail;
    struct frame frame;
    uint8_t bytes[2048];
    unsigned to;
} sent[MAILS_MAX];
static unsigned n_sent, registrar;
static bool no_room;

static unsigned stack_of(void *context, const struct endpoint *local, const struct endpoint *remote)
{
    (void)context;
    assert_int_equal(local->family, remote->family);
    return registrar < STACKS ? registrar : local->port % STACKS;
}

static bool send_mail(void *context, unsigned to, const struct net_mail *mail)
{
    (void)context;
    assert_true(to > 0 && to < STACKS && mail->from == 0 && n_sent < MAILS_MAX);
    if (no_room && mail->kind != NET_MAIL_END)
        return false;
    struct sent *s = &sent[n_sent++];
    s->mail = *mail;
    s->to = to;
    if (mail->frame) {
        s->frame = *mail->frame;
        memcpy(s->bytes, mail->frame->data, mail->frame->len);
        s->frame.data = s->frame.buffer = s->bytes;
        s->mail.frame = &s->frame;
    }
    return true;
}

static void start(struct peer *p, struct net_config *more)
{
    struct net_config c = more ? *more : (struct net_config){0};
    c.stacks = STACKS;
    c.stack_of = stack_of;
    c.send = send_mail;
    no_room = false;
    peer_start(p, &c);
    n_sent = 0;
    registrar = 0;
}

// The only mail since the last look.
static struct sent *mail_only(enum net_mail_kind kind, unsigned to)
{
    assert_int_equal(n_sent, 1);
    n_sent = 0;
    assert_int_equal(sent[0].mail.kind, kind);
    assert_int_equal(sent[0].to, to);
    return &sent[0];
}

// What the peer sends now comes by way of another stack. `mail` says how.
static void by_mail(struct peer *p, struct net_mail mail, uint8_t flags, const char *data)
{
    p->held = true;
    peer_send(p, flags, data, (uint32_t)strlen(data));
    p->held = false;
    mail.frame = &p->rx[p->n_rx - 1];
    net_receive(p->net, &mail, p->now_us);
}

// --- as the home of a flow
// ------------------------------------------------------------------------------------

// Its registrar is asked first, and then it is ours until it ends.
static void home_by_registrar(void **state)
{
    (void)state;
    struct peer p;
    start(&p, NULL);
    net_listen(p.net, OUR_PORT, 5);
    registrar = 2;
    peer_send(&p, TH_SYN, NULL, 0);
    peer_none(&p);
    struct sent *s = mail_only(NET_MAIL_ASK, 2);
    assert_int_equal(peer_count(&p)->home_asked, 1);
    assert_int_equal(peer_count(&p)->home_elsewhere, 1);
    struct net_mail give = s->mail;
    give.kind = NET_MAIL_GIVE;
    give.from = 2;
    give.fresh = true;
    give.flow = 77;
    net_receive(p.net, &give, p.now_us);
    struct peer_segment *synack = peer_only(&p);
    assert_int_equal(synack->flags, TH_SYN | TH_ACK);
    assert_int_equal(n_sent, 0);
    p.ack = synack->seq + 1;
    // From now on nobody is asked.
    peer_send(&p, TH_ACK, "hello", 5);
    peer_turn(&p);
    assert_int_equal(p.stream->in_len, 5);
    stream_consume(p.stream, 5);
    assert_int_equal(n_sent, 0);
    peer_send(&p, TH_RST, NULL, 0);
    peer_turn(&p);
    s = mail_only(NET_MAIL_END, 2);
    assert_int_equal(s->mail.taken, 1);
    assert_int_equal(s->mail.from, 0);
    peer_stop(&p);
}

// A frame that was given to us and opened nothing is the end of the flow at once.
static void nothing_came_of_it(void **state)
{
    (void)state;
    struct peer p;
    start(&p, NULL); // nobody listens
    by_mail(&p, (struct net_mail){.kind = NET_MAIL_GIVE, .from = 1, .fresh = true, .flow = 9},
            TH_SYN, "");
    struct sent *s = mail_only(NET_MAIL_END, 1);
    uint64_t flow = s->mail.flow;
    assert_int_equal(s->mail.taken, 1);
    assert_int_equal(peer_only(&p)->flags, TH_RST | TH_ACK);
    // Neither is one that was ours, and whose end and this frame passed each other.
    by_mail(&p, (struct net_mail){.kind = NET_MAIL_GIVE, .from = 1, .flow = 9}, TH_ACK, "x");
    s = mail_only(NET_MAIL_END, 1);
    assert_int_equal(s->mail.taken, 2);
    assert_int_equal(s->mail.flow, flow);
    assert_int_equal(peer_only(&p)->flags, TH_RST);
    peer_stop(&p);
}

static void open_by_mail(struct peer *p)
{
    uint8_t options[40];
    net_listen(p->net, OUR_PORT, 5);
    p->ts = 100;
    p->options_len = peer_syn_options(p, options, 1460, 7);
    p->options = options;
    by_mail(p, (struct net_mail){.kind = NET_MAIL_GIVE, .from = 1, .fresh = true, .flow = 9},
            TH_SYN, "");
    p->ack = peer_only(p)->seq + 1;
    peer_send(p, TH_ACK, NULL, 0);
    peer_turn(p);
    assert_non_null(p->stream);
}

// TIME_WAIT goes on being home, hands it over to the next incarnation, and ends it in the end.
static void through_time_wait(void **state)
{
    (void)state;
    for (int again = 0; again < 2; again++) {
        struct peer p;
        start(&p, NULL);
        open_by_mail(&p);
        registrar = 1;
        p.stream->ops->close(p.stream);
        struct peer_segment *fin = peer_only(&p);
        assert_int_equal(fin->flags & TH_FIN, TH_FIN);
        p.ack = fin->seq + 1;
        p.ts++;
        peer_send(&p, TH_FIN | TH_ACK, NULL, 0);
        peer_turn(&p);
        assert_int_equal(peer_count(&p)->tcp_time_wait, 1);
        assert_int_equal(n_sent, 0);
        p.stream->ops->release(p.stream);
        p.stream = NULL;
        if (again) {
            p.now_us += 5000000;
            p.ts += 5000;
            p.seq += 100000;
            peer_send(&p, TH_SYN, NULL, 0);
            assert_int_equal(peer_only(&p)->flags, TH_SYN | TH_ACK);
            assert_int_equal(n_sent, 0);
            assert_int_equal(net_connection_count(p.net), 1);
            peer_send(&p, TH_RST, NULL, 0); // and ends
            peer_turn(&p);
        } else {
            peer_wait(&p, 61000000);
        }
        assert_int_equal(mail_only(NET_MAIL_END, 1)->mail.taken, 1);
        peer_stop(&p);
    }
}

// The end of the server tells nobody: all stacks end.
static void destroyed(void **state)
{
    (void)state;
    struct peer p;
    start(&p, NULL);
    open_by_mail(&p);
    p.stream = NULL;
    peer_stop(&p);
    assert_int_equal(n_sent, 0);
}

// --- as the registrar
// ------------------------------------------------------------------------------------

static void registrar_gives(void **state)
{
    (void)state;
    struct peer p;
    start(&p, NULL);
    net_listen(p.net, OUR_PORT, 5);
    by_mail(&p, (struct net_mail){.kind = NET_MAIL_ASK, .from = 1}, TH_SYN, "");
    peer_none(&p);
    struct sent *s = mail_only(NET_MAIL_GIVE, 1);
    assert_true(s->mail.fresh);
    uint64_t flow = s->mail.flow;
    assert_int_equal(net_registered(p.net), 1);
    // The same SYN, to our own queue and by another stack: to its home.
    peer_send_at(&p, TH_SYN, p.seq - 1, 0, NULL, 0);
    peer_none(&p);
    s = mail_only(NET_MAIL_GIVE, 1);
    assert_false(s->mail.fresh);
    assert_int_equal(s->mail.flow, flow);
    p.seq--;
    by_mail(&p, (struct net_mail){.kind = NET_MAIL_ASK, .from = 2}, TH_SYN, "");
    peer_none(&p);
    assert_int_equal(mail_only(NET_MAIL_GIVE, 1)->mail.flow, flow);
    // Its end, said before these came: it is not the end.
    struct net_mail end = {.kind = NET_MAIL_END, .from = 1, .flow = flow, .taken = 2};
    net_receive(p.net, &end, p.now_us);
    assert_int_equal(net_registered(p.net), 1);
    end.from = 2; // nor is it another's to say
    end.taken = 3;
    net_receive(p.net, &end, p.now_us);
    assert_int_equal(net_registered(p.net), 1);
    end.from = 1;
    net_receive(p.net, &end, p.now_us);
    assert_int_equal(net_registered(p.net), 0);
    net_receive(p.net, &end, p.now_us); // twice does no harm
    assert_int_equal(peer_count(&p)->home_ended, 1);
    // Now it is nobody's: we answer.
    by_mail(&p, (struct net_mail){.kind = NET_MAIL_ASK, .from = 2}, TH_ACK, "x");
    assert_int_equal(peer_only(&p)->flags, TH_RST);
    assert_int_equal(n_sent, 0);
    peer_stop(&p);
}

// An ICMP error goes the way of the flow that it is about.
static void errors_go_home(void **state)
{
    (void)state;
    struct peer p;
    start(&p, NULL);
    net_listen(p.net, OUR_PORT, 5);
    by_mail(&p, (struct net_mail){.kind = NET_MAIL_ASK, .from = 1}, TH_SYN, "");
    peer_none(&p);
    uint64_t flow = mail_only(NET_MAIL_GIVE, 1)->mail.flow;
    uint8_t icmp[8 + 28] = {3, 3}, *quoted = icmp + 8;
    memcpy(quoted, (const uint8_t[20]){0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6}, 20);
    memcpy(quoted + 12, (const uint8_t[8]){10, 0, 0, 1, 10, 0, 0, 9}, 8);
    store_be16(quoted + 20, OUR_PORT);
    store_be16(quoted + 22, PEER_PORT);
    uint16_t sum = (uint16_t)~net_sum_fold(net_sum(icmp, sizeof(icmp), 0));
    memcpy(icmp + 2, &sum, 2);
    peer_ip(&p, PROTOCOL_ICMP, icmp, sizeof(icmp));
    struct sent *s = mail_only(NET_MAIL_GIVE, 1);
    assert_int_equal(s->mail.flow, flow);
    assert_false(s->mail.fresh);
    registrar = 2; // and first to its registrar
    peer_ip(&p, PROTOCOL_ICMP, icmp, sizeof(icmp));
    static struct sent copy;
    copy = *mail_only(NET_MAIL_ASK, 2);
    // Given to us when the flow has ended already: said again, or it would stay registered.
    copy.frame.data = copy.frame.buffer = copy.bytes;
    copy.mail.frame = &copy.frame;
    copy.mail.kind = NET_MAIL_GIVE;
    copy.mail.from = 2;
    net_receive(p.net, &copy.mail, p.now_us);
    assert_int_equal(mail_only(NET_MAIL_END, 2)->mail.taken, 1);
    peer_none(&p);
    peer_stop(&p);
}

// What comes to the right queue at once is never spoken of.
static void no_strays_no_words(void **state)
{
    (void)state;
    struct peer p;
    start(&p, NULL);
    peer_open(&p);
    peer_send(&p, TH_ACK, "abc", 3);
    peer_turn(&p);
    stream_consume(p.stream, 3);
    // The others know that we would be asked, and we have it.
    by_mail(&p, (struct net_mail){.kind = NET_MAIL_ASK, .from = 2}, TH_ACK, "");
    peer_turn(&p);
    p.stream->ops->abort(p.stream);
    peer_turn(&p);
    assert_int_equal(n_sent, 0);
    assert_int_equal(peer_count(&p)->home_as_hashed, 1);
    assert_int_equal(peer_count(&p)->home_elsewhere, 0);
    peer_stop(&p);
}

// Frames are lost where there is no room, and nothing is registered or answered for them.
static void no_room_no_answer(void **state)
{
    (void)state;
    struct peer p;
    start(&p, NULL);
    net_listen(p.net, OUR_PORT, 5);
    no_room = true;
    by_mail(&p, (struct net_mail){.kind = NET_MAIL_ASK, .from = 1}, TH_SYN, "");
    registrar = 1;
    peer_send_at(&p, TH_ACK, 500, 9999, "abc", 3);
    peer_none(&p);
    assert_int_equal(net_registered(p.net), 0);
    assert_int_equal(peer_count(&p)->home_lost, 2);
    peer_stop(&p);
}

static void registry_is_bounded(void **state)
{
    (void)state;
    struct peer p;
    struct net_config c = {.connections_max = 16, .time_wait_max = 9, .half_open_max = 4};
    start(&p, &c);
    net_listen(p.net, OUR_PORT, 5);
    uint64_t flows[30] = {0};
    for (unsigned i = 0; i < 40; i++) {
        p.peer_port = (uint16_t)(5000 + i);
        by_mail(&p, (struct net_mail){.kind = NET_MAIL_ASK, .from = 1}, TH_SYN, "");
        peer_none(&p);
        if (i < 30)
            flows[i] = mail_only(NET_MAIL_GIVE, 1)->mail.flow;
    }
    assert_int_equal(net_registered(p.net), 30);
    assert_int_equal(peer_count(&p)->home_full, 10);
    assert_int_equal(n_sent, 0);
    // In an order of their own, so that runs of the table are cut everywhere; the others stay.
    uint64_t given = 30;
    for (unsigned i = 0; i < 30; i++) {
        struct net_mail end = {
            .kind = NET_MAIL_END, .from = 1, .flow = flows[i * 7 % 30], .taken = given};
        net_receive(p.net, &end, p.now_us);
        assert_int_equal(net_registered(p.net), 29 - i);
        for (unsigned k = i + 1; k < 30; k++) {
            p.peer_port = (uint16_t)(5000 + k * 7 % 30);
            peer_send_at(&p, TH_ACK, 1, 1, NULL, 0);
            assert_int_equal(mail_only(NET_MAIL_GIVE, 1)->mail.flow, flows[k * 7 % 30]);
            given++;
        }
        peer_none(&p);
    }
    peer_stop(&p);
}

// --- news
// ------------------------------------------------------------------------------------

static void arp(struct peer *p, uint8_t operation, uint8_t host, uint8_t mac)
{
    uint8_t frame[42] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, mac, 8, 6, 0, 1, 8, 0, 6, 4, 0};
    frame[21] = operation;
    memcpy(frame + 22, frame + 6, 6);
    memcpy(frame + 28, (const uint8_t[4]){10, 0, 0, host}, 4);
    memcpy(frame + 32, frame, 6);
    memcpy(frame + 38, (const uint8_t[4]){10, 0, 0, 1}, 4);
    peer_raw(p, frame, sizeof(frame));
}

static unsigned known, known_mac;
static void look(void *context, const struct net_neighbour *n)
{
    bool usable = strcmp(n->state, "REACHABLE") == 0 || strcmp(n->state, "STALE") == 0;
    if (n->addr[3] == *(uint8_t *)context && usable) {
        known++;
        known_mac = n->mac[5];
    }
}

static unsigned mac_of(struct peer *p, uint8_t host)
{
    known = known_mac = 0;
    net_each_neighbour(p->net, look, &host);
    assert_true(known < 2);
    return known_mac;
}

// Who asks for us becomes known to all; what is known already is not said again.
static void news_of_neighbours(void **state)
{
    (void)state;
    struct peer p;
    start(&p, NULL);
    arp(&p, 1, 50, 50);
    assert_int_equal(n_sent, STACKS - 1);
    assert_int_equal(sent[0].mail.kind, NET_MAIL_NEWS);
    assert_int_equal(sent[0].mail.news.addr[3], 50);
    assert_true(sent[0].mail.news.create);
    n_sent = 0;
    arp(&p, 1, 50, 50);
    assert_int_equal(n_sent, 0);
    // An answer to what another asked: not for us, but passed on.
    arp(&p, 2, 51, 51);
    assert_int_equal(n_sent, STACKS - 1);
    assert_true(sent[0].mail.news.answer);
    assert_int_equal(mac_of(&p, 51), 0);
    n_sent = 0;
    // What others hear is believed as if it had come here, and goes no further.
    struct net_mail mail = {
        .kind = NET_MAIL_NEWS,
        .from = 1,
        .news = {.family = 4, .addr = {10, 0, 0, 52}, .mac = {2, 0, 0, 0, 0, 52}, .answer = true}};
    net_receive(p.net, &mail, p.now_us);
    assert_int_equal(mac_of(&p, 52), 0); // nobody here asked
    mail.news.answer = false;
    mail.news.create = true;
    net_receive(p.net, &mail, p.now_us);
    assert_int_equal(mac_of(&p, 52), 52);
    // We ask, and the answer comes to another's queue.
    struct endpoint to = {.family = 4, .port = 80, .addr = {10, 0, 0, 53}};
    int error;
    struct stream *s = net_connect(p.net, &to, &error);
    assert_non_null(s);
    peer_turn(&p);
    mail.news = (struct net_news){
        .family = 4, .addr = {10, 0, 0, 53}, .mac = {2, 0, 0, 0, 0, 53}, .answer = true};
    net_receive(p.net, &mail, p.now_us);
    assert_int_equal(mac_of(&p, 53), 53);
    assert_int_equal(peer_only(&p)->flags, TH_SYN); // that waited for it
    assert_int_equal(n_sent, 0);
    peer_turn(&p);
    peer_stop(&p);
}

// A flood of answers is not told without bound.
static void news_are_limited(void **state)
{
    (void)state;
    struct peer p;
    start(&p, NULL);
    unsigned told = 0;
    for (unsigned i = 0; i < 1000; i++) {
        arp(&p, 2, (uint8_t)(100 + i % 50), (uint8_t)i);
        told += n_sent;
        n_sent = 0;
        peer_turn(&p);
    }
    assert_in_range(told, 100, 600);
    peer_stop(&p);
}

// --- active opens
// ------------------------------------------------------------------------------------

// Only from ports whose answers come back here.
static void ports_that_come_back(void **state)
{
    (void)state;
    struct peer p;
    start(&p, NULL);
    registrar = STACKS; // by port
    struct endpoint to = {.family = 4, .port = 80, .addr = {10, 0, 0, 9}};
    for (unsigned i = 0; i < 20; i++) {
        int error;
        struct stream *s = net_connect(p.net, &to, &error);
        assert_non_null(s);
        struct stream_info info;
        s->ops->info(s, &info);
        assert_int_equal(info.local.port % STACKS, 0);
        assert_int_equal(peer_only(&p)->flags, TH_SYN);
    }
    assert_int_equal(n_sent, 0);
    peer_stop(&p);
}

static void ports_run_out(void **state)
{
    (void)state;
    struct peer p;
    start(&p, NULL);
    registrar = 1;
    struct endpoint to = {.family = 4, .port = 80, .addr = {10, 0, 0, 9}};
    int error;
    for (unsigned i = 0; i < 3; i++) {
        assert_null(net_connect(p.net, &to, &error));
        assert_int_equal(error, -EADDRNOTAVAIL);
    }
    assert_int_equal(peer_count(&p)->tcp_port_exhausted, 3);
    // Others are not affected, and it is looked for again after a while.
    registrar = 0;
    assert_null(net_connect(p.net, &to, &error));
    to.port = 81;
    assert_non_null(net_connect(p.net, &to, &error));
    p.now_us += 200000;
    peer_turn(&p);
    to.port = 80;
    assert_non_null(net_connect(p.net, &to, &error));
    peer_turn(&p);
    peer_stop(&p);
}

// Every port in use, all but one for good: that one is taken out of TIME_WAIT after a second, if
// timestamps were agreed.
static void port_out_of_time_wait(void **state)
{
    (void)state;
    for (int stamps = 0; stamps < 2; stamps++) {
        struct peer p;
        struct net_config c = {.connections_max = 60000};
        peer_start(&p, &c);
        struct endpoint to = {.family = 4, .port = PEER_PORT, .addr = {10, 0, 0, 9}};
        int error;
        struct stream *s = net_connect(p.net, &to, &error);
        assert_non_null(s);
        struct peer_segment *syn = peer_only(&p);
        p.port = syn->src_port;
        p.ack = syn->seq + 1;
        uint8_t options[40];
        p.ts = stamps ? 100 : 0;
        p.options_len = peer_syn_options(&p, options, 1460, 7);
        p.options = options;
        peer_send(&p, TH_SYN | TH_ACK, NULL, 0);
        peer_turn(&p);
        s->ops->close(s);
        peer_turn(&p);
        p.ack++;
        peer_send(&p, TH_FIN | TH_ACK, NULL, 0);
        peer_turn(&p);
        assert_int_equal(peer_count(&p)->tcp_time_wait, 1);
        s->ops->release(s);
        uint32_t last = p.ack;
        p.pool.limit = 0; // the SYNs of the rest need not be seen
        unsigned opened = 0;
        while (net_connect(p.net, &to, &error))
            opened++;
        assert_int_equal(error, -EADDRNOTAVAIL);
        assert_int_equal(opened, 55535);
        p.now_us += 900000;
        net_advance(p.net, p.now_us);
        assert_null(net_connect(p.net, &to, &error));
        p.now_us += 200000;
        while (net_advance(p.net, p.now_us))
            continue;
        p.pool.limit = 64;
        s = net_connect(p.net, &to, &error);
        if (stamps) {
            assert_non_null(s);
            struct stream_info info;
            s->ops->info(s, &info);
            assert_int_equal(info.local.port, p.port);
            struct frame **out;
            unsigned n = net_output(p.net, &out);
            assert_true(n > 0); // some frames were at hand for the others, too
            assert_int_equal(load_be16(out[n - 1]->data + 14 + 20), p.port);
            assert_true(seq_lt(last, load_be32(out[n - 1]->data + 14 + 20 + 4)));
            assert_int_equal(peer_count(&p)->tcp_port_reused, 1);
        } else {
            assert_null(s);
            assert_int_equal(error, -EADDRNOTAVAIL);
        }
        p.stream = NULL;
        peer_stop(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(home_by_registrar),   cmocka_unit_test(nothing_came_of_it),
        cmocka_unit_test(through_time_wait),   cmocka_unit_test(destroyed),
        cmocka_unit_test(registrar_gives),     cmocka_unit_test(errors_go_home),
        cmocka_unit_test(no_strays_no_words),  cmocka_unit_test(no_room_no_answer),
        cmocka_unit_test(registry_is_bounded), cmocka_unit_test(news_of_neighbours),
        cmocka_unit_test(news_are_limited),    cmocka_unit_test(ports_that_come_back),
        cmocka_unit_test(ports_run_out),       cmocka_unit_test(port_out_of_time_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
