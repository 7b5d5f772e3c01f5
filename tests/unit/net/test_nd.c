// Neighbour discovery: whose an address is, who has which hardware address, and routers.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/net/peer6.h"

// --- whose address it is
// ---------------------------------------------------------------------------------

// RFC 4862 5.4: nothing but the question itself until a second has passed without objection.
static void addresses_are_asked_for_before_use(void **state)
{
    (void)state;
    struct peer p;
    struct net_config c = {.duplicate_probes = 1};
    peer6_start(&p, &c);
    net_listen(p.net, OUR_PORT, 10);
    uint8_t syn[20] = {0x0f, 0xa0, 0x18, 0xeb, [12] = 0x50, [13] = TH_SYN};
    struct peer6_header h = {theirs, ours, PROTOCOL_TCP, 64, NULL};
    peer6_set_sum(h, PROTOCOL_TCP, syn, TCP_SUM, 20);
    peer6_send(&p, h, syn, 20);
    uint8_t m[32];
    peer6_icmp(&p, (struct peer6_header){theirs, our_group, .hop = 255}, m,
               peer6_make_ns(m, ours, (const uint8_t[6]){2, 0, 0, 0, 0, 9}));
    assert_int_equal(peer_count(&p)->drop_not_ours, 1);
    uint64_t begin_us = p.now_us;
    while (!peer6_sent(&p, ND_NEIGHBOUR_SOLICITATION) && p.now_us < begin_us + SECOND) {
        peer_wait(&p, 1000);
        assert_null(peer6_sent(&p, ND_NEIGHBOUR_ADVERTISEMENT));
    }
    // The address of the link and the given one, from nobody, to the groups of those who have them.
    for (unsigned i = 0; i < 2; i++) {
        const uint8_t *ns = peer6_sent_nth(&p, ND_NEIGHBOUR_SOLICITATION, i), *ip = ns - 40;
        assert_int_equal(ip[7], 255);
        assert_memory_equal(ip + 8, none, 16);
        assert_memory_equal(ip + 24 + 13, ns + 8 + 13, 3);
        assert_memory_equal(ip - 14, ((const uint8_t[3]){0x33, 0x33, 0xff}), 3);
        assert_int_equal(ns[24], ND_OPTION_NONCE);
    }
    assert_int_equal(peer_count(&p)->nd_probes, 2);
    // A switch has to know that we listen: reported from nobody as well.
    assert_true(peer_count(&p)->icmp_out >= 3);
    peer_wait(&p, SECOND - 3000);
    assert_null(peer6_sent(&p, ND_NEIGHBOUR_ADVERTISEMENT));
    peer_wait(&p, 10000);
    const uint8_t *na = peer6_sent(&p, ND_NEIGHBOUR_ADVERTISEMENT);
    assert_non_null(na);
    assert_int_equal(na[4], OVERRIDE);
    peer6_asks(&p);
    assert_non_null(peer6_sent(&p, ND_NEIGHBOUR_ADVERTISEMENT));
    peer_stop(&p);
}

// A connection opened meanwhile waits, and its SYN is not counted as lost.
static void opening_waits_for_the_address(void **state)
{
    (void)state;
    struct peer p;
    struct net_config c = {.duplicate_probes = 1};
    peer6_start(&p, &c);
    int error;
    struct endpoint to = peer6_at(theirs, 80);
    struct stream *s = net_connect(p.net, &to, &error);
    assert_non_null(s);
    peer6_turn(&p);
    peer_wait(&p, 2100000);
    const uint8_t *ns = NULL;
    for (unsigned i = 0; (ns = peer6_sent_nth(&p, ND_NEIGHBOUR_SOLICITATION, i)); i++)
        if (memcmp(ns + 8, theirs, 16) == 0)
            break;
    assert_non_null(ns); // now there is an address to ask from
    assert_memory_equal(ns - 40 + 8, ours, 16);
    uint8_t m[32];
    peer6_icmp(&p, (struct peer6_header){theirs, ours, .hop = 255}, m,
               peer6_make_na(m, theirs, SOLICITED | OVERRIDE, 9));
    peer6_turn(&p);
    assert_int_equal(p.n_out, 1);
    assert_int_equal(p.out[0].raw[20], PROTOCOL_TCP);
    assert_int_equal(p.out[0].raw[54 + 13], TH_SYN);
    struct stream_info info;
    s->ops->info(s, &info);
    assert_int_equal(info.retransmitted, 0);
    assert_int_equal(info.local.family, 6);
    assert_memory_equal(info.local.addr, ours, 16);
    assert_memory_equal(info.remote.addr, theirs, 16);
    s->ops->abort(s);
    s->ops->release(s);
    peer_stop(&p);
}

static void duplicates_are_given_up(void **state)
{
    (void)state;
    struct peer p;
    struct net_config c = {.duplicate_probes = 1};
    uint8_t m[32];
    for (unsigned round = 0; round < 3; round++) {
        peer6_start(&p, &c);
        peer_wait(&p, SECOND); // the question is out
        const uint8_t *probe = NULL;
        for (unsigned i = 0; (probe = peer6_sent_nth(&p, ND_NEIGHBOUR_SOLICITATION, i)); i++)
            if (memcmp(probe + 8, ours, 16) == 0)
                break;
        assert_non_null(probe);
        if (round == 0) { // its owner answers
            peer6_icmp(&p, (struct peer6_header){ours, all, .hop = 255, .mac = mac_of_all}, m,
                       peer6_make_na(m, ours, OVERRIDE, 9));
        } else { // another asks at the same time; or the link sends our own question back
            uint8_t copy[32];
            memcpy(copy, probe, 32);
            copy[27] ^= round == 1;
            peer6_icmp(&p, (struct peer6_header){none, our_group, .hop = 255, .mac = mac_of_all},
                       copy, 32);
        }
        assert_int_equal(peer_count(&p)->nd_duplicate, round < 2);
        assert_int_equal(peer_count(&p)->nd_looped, round == 2);
        assert_int_equal(peer6_conflicts, round < 2);
        assert_int_equal(peer6_lost, round < 2);
        peer_wait(&p, 3 * SECOND);
        peer6_asks(&p);
        if (round < 2)
            assert_null(peer6_sent(&p, ND_NEIGHBOUR_ADVERTISEMENT));
        else
            assert_non_null(peer6_sent(&p, ND_NEIGHBOUR_ADVERTISEMENT));
        peer_stop(&p);
    }
}

// RFC 7217 6: the address of the link is made anew, three times and no more.
static void the_address_of_the_link_is_made_anew(void **state)
{
    (void)state;
    struct peer p;
    struct net_config c = {.duplicate_probes = 1};
    peer6_start(&p, &c);
    uint8_t seen[4][16];
    for (unsigned i = 0; i < 4; i++) {
        const struct ipv6_address *a = &p.net->ip6->addresses[1];
        assert_true(a->made && ipv6_is_link_local(a->addr) && a->state == IPV6_TENTATIVE);
        memcpy(seen[i], a->addr, 16);
        for (unsigned k = 0; k < i; k++)
            assert_memory_not_equal(seen[i], seen[k], 16);
        uint8_t m[32];
        peer6_icmp(&p, (struct peer6_header){seen[i], all, .hop = 255, .mac = mac_of_all}, m,
                   peer6_make_na(m, seen[i], OVERRIDE, 9));
        assert_int_equal(peer_count(&p)->nd_duplicate, i + 1);
    }
    assert_int_equal(p.net->ip6->addresses[1].state, IPV6_DUPLICATE);
    // It is the same at the next start.
    peer6_restart(&p);
    assert_memory_equal(p.net->ip6->addresses[1].addr, seen[0], 16);
    peer_stop(&p);
}

// --- neighbours
// ---------------------------------------------------------------------------------

static void solicitations_are_answered(void **state)
{
    (void)state;
    struct peer p;
    peer6_start_quiet(&p, NULL);
    peer6_asks(&p);
    assert_int_equal(p.n_out, 1);
    const uint8_t *na = peer6_sent(&p, ND_NEIGHBOUR_ADVERTISEMENT), *ip = na - 40;
    assert_memory_equal(ip - 14, ((const uint8_t[6]){2, 0, 0, 0, 0, 9}), 6);
    assert_int_equal(ip[7], 255);
    assert_memory_equal(ip + 8, ours, 16);
    assert_memory_equal(ip + 24, theirs, 16);
    assert_int_equal(na[4], SOLICITED | OVERRIDE);
    assert_memory_equal(na + 8, ours, 16);
    assert_int_equal(na[24], ND_OPTION_TARGET);
    assert_memory_equal(na + 26, p.config.mac, 6);
    peer6_expect(&p, theirs, "DELAY", 9); // it asked, and our answer used it
    // Whoever wants the address for himself is told by way of everyone, and not learned from.
    uint8_t m[32];
    peer6_icmp(&p, (struct peer6_header){none, our_group, .hop = 255, .mac = mac_of_all}, m,
               peer6_make_ns(m, ours, NULL));
    peer6_turn(&p);
    na = peer6_sent(&p, ND_NEIGHBOUR_ADVERTISEMENT);
    assert_non_null(na);
    assert_memory_equal(na - 40 + 24, all, 16);
    assert_memory_equal(na - 54, mac_of_all, 6);
    assert_int_equal(na[4], OVERRIDE);
    // Another's address, and a sender that is not on the link: not learned.
    peer6_icmp(&p, (struct peer6_header){theirs, our_group, .hop = 255, .mac = mac_of_all}, m,
               peer6_make_ns(m, (const uint8_t[16]){0xfd, [12] = 7, [15] = 1}, NULL));
    peer_none(&p);
    const uint8_t far[16] = {0xfc, [15] = 7};
    peer6_icmp(&p, (struct peer6_header){far, ours, .hop = 255}, m,
               peer6_make_ns(m, ours, (const uint8_t[6]){2, 0, 0, 0, 0, 7}));
    peer_none(&p); // and no way to answer
    assert_string_equal(peer6_neighbour(&p, far).state, "UNKNOWN");
    peer_stop(&p);
}

// RFC 4861 7.1 and RFC 6980: one counter for each cause, and no effect.
static void what_is_wrong_is_dropped(void **state)
{
    (void)state;
    struct peer p;
    peer6_start_quiet(&p, NULL);
    uint8_t m[64];
    const uint8_t mac[6] = {2, 0, 0, 0, 0, 9};
    const struct peer6_header good = {theirs, ours, .hop = 255};
    struct peer6_header h = good;
    uint64_t foreign = 0, bad = 0;
    h.hop = 254; // from beyond the link
    peer6_icmp(&p, h, m, peer6_make_ns(m, ours, mac));
    assert_int_equal(peer_count(&p)->nd_foreign, ++foreign);
    uint8_t pieces[40] = {PROTOCOL_ICMPV6}; // in one piece that has a fragment header
    uint32_t len = peer6_make_ns(pieces + 8, ours, mac);
    peer6_set_sum(good, PROTOCOL_ICMPV6, pieces + 8, 2, len);
    h = good;
    h.next = NEXT_FRAGMENT;
    peer6_send(&p, h, pieces, 8 + len);
    assert_int_equal(peer_count(&p)->nd_foreign, ++foreign);
    len = peer6_make_ns(m, ours, mac);
    m[1] = 1; // code
    peer6_icmp(&p, good, m, len);
    assert_int_equal(peer_count(&p)->nd_bad, ++bad);
    len = peer6_make_ns(m, ours, mac);
    peer6_icmp(&p, good, m, 23); // short
    assert_int_equal(peer_count(&p)->nd_bad, ++bad);
    m[25] = 0; // an option without length
    peer6_icmp(&p, good, m, len);
    assert_int_equal(peer_count(&p)->nd_bad, ++bad);
    m[25] = 2; // behind the end
    peer6_icmp(&p, good, m, len);
    assert_int_equal(peer_count(&p)->nd_bad, ++bad);
    peer6_icmp(&p, good, m, peer6_make_ns(m, our_group, mac)); // a group as target
    assert_int_equal(peer_count(&p)->nd_bad, ++bad);
    h = (struct peer6_header){none, our_group, .hop = 255};
    peer6_icmp(&p, h, m, peer6_make_ns(m, ours, mac)); // nobody with a hardware address
    assert_int_equal(peer_count(&p)->nd_bad, ++bad);
    h.dst = ours;
    peer6_icmp(&p, h, m, peer6_make_ns(m, ours, NULL)); // nobody, to us alone
    assert_int_equal(peer_count(&p)->nd_bad, ++bad);
    h = (struct peer6_header){theirs, all, .hop = 255};
    peer6_icmp(&p, h, m, peer6_make_na(m, theirs, SOLICITED, 9)); // an answer to everyone
    assert_int_equal(peer_count(&p)->nd_bad, ++bad);
    uint8_t redirect[40] = {ND_REDIRECT};
    peer6_icmp(&p, good, redirect, 40);
    assert_int_equal(peer_count(&p)->nd_redirect, 1);
    peer6_icmp(&p, good, m, peer6_make_ns(m, ours, (const uint8_t[6]){0x33, 0, 0, 0, 0, 9}));
    assert_int_equal(peer_count(&p)->neighbour_bad_mac, 1);
    peer6_turn(&p); // it is answered nevertheless, by asking for its address
    len = peer6_make_ns(m, ours, mac);
    peer6_set_sum(good, PROTOCOL_ICMPV6, m, 2, len);
    m[2] ^= 1;
    h = good;
    h.next = PROTOCOL_ICMPV6;
    peer6_send(&p, h, m, len);
    assert_int_equal(peer_count(&p)->icmp_bad, 1);
    peer_none(&p);
    assert_string_equal(peer6_neighbour(&p, theirs).state, "INCOMPLETE");
    peer_stop(&p);
}

static void neighbours_are_asked_for(void **state)
{
    (void)state;
    struct peer p;
    peer6_start_quiet(&p, NULL);
    int error;
    struct endpoint to = peer6_at(theirs, 80);
    struct stream *s = net_connect(p.net, &to, &error);
    assert_non_null(s);
    peer6_turn(&p);
    assert_int_equal(p.n_out, 1);
    const uint8_t *ns = peer6_sent(&p, ND_NEIGHBOUR_SOLICITATION);
    assert_memory_equal(ns + 8, theirs, 16);
    assert_memory_equal(ns - 54, ((const uint8_t[6]){0x33, 0x33, 0xff, 0, 0, 9}), 6);
    assert_int_equal(ns[24], ND_OPTION_SOURCE);
    // Without a hardware address it is no answer.
    uint8_t m[32];
    peer6_make_na(m, theirs, SOLICITED, 9);
    peer6_icmp(&p, (struct peer6_header){theirs, ours, .hop = 255}, m, 24);
    peer6_expect(&p, theirs, "INCOMPLETE", 0);
    peer6_icmp(&p, (struct peer6_header){theirs, ours, .hop = 255}, m,
               peer6_make_na(m, theirs, SOLICITED, 9));
    peer6_expect(&p, theirs, "REACHABLE", 9);
    peer6_turn(&p);
    assert_int_equal(p.n_out, 1); // the SYN that waited
    assert_int_equal(p.out[0].raw[5], 9);
    s->ops->abort(s);
    s->ops->release(s);
    // Nobody there: three questions, then the attempt ends.
    to.addr[15] = 10;
    s = net_connect(p.net, &to, &error);
    peer_wait(&p, 5 * SECOND);
    unsigned asked = 0;
    while (peer6_sent_nth(&p, ND_NEIGHBOUR_SOLICITATION, asked))
        asked++;
    assert_int_equal(asked, 3);
    peer_wait(&p, 5 * SECOND);
    assert_int_equal(s->error, STREAM_UNREACHABLE);
    s->ops->release(s);
    peer_stop(&p);
}

// RFC 4861 7.2.5, and what is stricter here.
static void only_answers_to_questions_confirm(void **state)
{
    (void)state;
    struct peer p;
    peer6_start_quiet(&p, NULL);
    const struct peer6_header h = {theirs, ours, .hop = 255};
    uint8_t m[32];
    peer6_icmp(&p, h, m,
               peer6_make_na(m, theirs, SOLICITED | OVERRIDE, 9)); // unknown: makes no entry
    peer6_expect(&p, theirs, "UNKNOWN", 0);
    peer6_asks(&p);
    peer6_icmp(&p, h, m, peer6_make_na(m, theirs, SOLICITED | OVERRIDE, 9));
    peer6_expect(&p, theirs, "DELAY", 9); // nobody has asked
    peer6_icmp(&p, h, m, peer6_make_na(m, theirs, SOLICITED | OVERRIDE, 66));
    peer6_expect(&p, theirs, "DELAY", 9); // too soon
    assert_int_equal(peer_count(&p)->neighbour_locked, 1);
    peer_wait(&p, 5 * SECOND + 10000);
    const uint8_t *ns = peer6_sent(&p, ND_NEIGHBOUR_SOLICITATION);
    assert_memory_equal(ns - 54, ((const uint8_t[6]){2, 0, 0, 0, 0, 9}), 6); // asked itself
    peer6_expect(&p, theirs, "PROBE", 9);
    peer6_icmp(&p, h, m, peer6_make_na(m, theirs, SOLICITED, 66)); // without leave to override
    peer6_expect(&p, theirs, "PROBE", 9);
    peer6_icmp(&p, h, m, peer6_make_na(m, theirs, SOLICITED, 9));
    peer6_expect(&p, theirs, "REACHABLE", 9);
    p.now_us += 2 * SECOND;
    peer6_turn(&p);
    peer6_icmp(&p, h, m, peer6_make_na(m, theirs, 0, 66)); // a doubt, and no more
    peer6_expect(&p, theirs, "STALE", 9);
    peer6_icmp(&p, h, m, peer6_make_na(m, theirs, OVERRIDE, 67)); // another card: used, and watched
    peer6_expect(&p, theirs, "STALE", 67);
    assert_int_equal(peer_count(&p)->neighbour_changed, 1);
    // Our own address in another's mouth is nothing to learn.
    peer6_icmp(&p, (struct peer6_header){ours, all, .hop = 255, .mac = mac_of_all}, m,
               peer6_make_na(m, ours, OVERRIDE, 66));
    assert_int_equal(peer_count(&p)->nd_conflict, 1);
    assert_int_equal(peer6_conflicts, 1);
    assert_false(peer6_lost);
    peer6_expect(&p, ours, "UNKNOWN", 0);
    peer_stop(&p);
}

// Known once and for all: not asked for, not changed, not forgotten.
static void given_neighbours_stay(void **state)
{
    (void)state;
    struct peer p;
    struct net_config c = {.n_neighbours = 2,
                           .neighbours = {{{.family = 6}, {2, 0, 0, 0, 0, 77}},
                                          {{.family = 4, .addr = {10, 0, 0, 77}}, {2, [5] = 78}}}};
    memcpy(c.neighbours[0].address.addr, theirs, 16);
    peer6_start_quiet(&p, &c);
    peer6_expect(&p, theirs, "PERMANENT", 77);
    uint8_t m[32];
    peer6_icmp(&p, (struct peer6_header){theirs, ours, .hop = 255}, m,
               peer6_make_na(m, theirs, SOLICITED | OVERRIDE, 9));
    peer6_asks(&p);
    assert_int_equal(p.out[0].raw[5], 77);
    assert_int_equal(peer_count(&p)->neighbour_locked, 2);
    for (unsigned i = 0; i < 1000; i++)
        peer_wait(&p, 2 * SECOND);
    peer6_expect(&p, theirs, "PERMANENT", 77);
    assert_int_equal(peer6_neighbour(&p, theirs).n, 2);
    int error;
    struct endpoint to = {.family = 4, .port = 80, .addr = {10, 0, 0, 77}};
    struct stream *s = net_connect(p.net, &to, &error);
    peer6_turn(&p);
    assert_int_equal(p.out[0].raw[5], 78);
    s->ops->abort(s);
    s->ops->release(s);
    peer_stop(&p);
}

// A whole network of addresses that nobody has: bounded in memory, questions and frames, and those
// in use stay.
static void a_crowd_is_bounded(void **state)
{
    (void)state;
    struct peer p;
    peer6_start_quiet(&p, NULL);
    peer6_asks(&p);
    uint8_t m[32];
    peer_wait(&p, 5100000);
    peer6_icmp(&p, (struct peer6_header){theirs, ours, .hop = 255}, m,
               peer6_make_na(m, theirs, SOLICITED, 9));
    peer6_expect(&p, theirs, "REACHABLE", 9);
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t src[16] = {0xfd, [8] = 1, [12] = (uint8_t)(i >> 8), [15] = (uint8_t)i};
        uint8_t ping[8] = {ICMPV6_ECHO};
        peer6_icmp(&p, (struct peer6_header){src, ours, .hop = 64}, ping, 8);
        if (i % 100 == 0)
            peer6_turn(&p);
    }
    struct peer6_found f = peer6_neighbour(&p, theirs);
    assert_string_equal(f.state, "REACHABLE");
    assert_true(f.n <= NET_NEIGHBOUR_SETS * NET_NEIGHBOUR_WAYS);
    assert_true(peer_count(&p)->nd_out < 700);
    assert_true(peer_count(&p)->neighbour_ask_limited > 100);
    assert_true(p.pool.taken <= NET_NEIGHBOUR_WAITING_ALL + 200);
    // What failed is forgotten after a while.
    for (unsigned i = 0; i < 2000; i++)
        peer_wait(&p, SECOND / 10);
    f = peer6_neighbour(&p, theirs);
    assert_true(f.n < 10);
    uint64_t before = peer_count(&p)->icmp_out;
    for (unsigned i = 0; i < 3000; i++) { // and a flood of questions is not answered without bound
        peer6_icmp(&p, (struct peer6_header){theirs, ours, .hop = 255}, m,
                   peer6_make_ns(m, ours, (const uint8_t[6]){2, 0, 0, 0, 0, 9}));
        if (i % 100 == 0)
            peer6_turn(&p);
    }
    peer6_turn(&p);
    assert_int_equal(peer_count(&p)->nd_limited, 2500);
    assert_int_equal(peer_count(&p)->icmp_out - before, 500);
    peer_stop(&p);
}

// --- several stacks
// ---------------------------------------------------------------------------------

static struct frame shown;
static uint8_t shown_bytes[256];
static unsigned n_shown, n_told;

static bool take_mail(void *context, unsigned to, const struct net_mail *mail)
{
    (void)context;
    assert_int_equal(to, 1);
    n_told += mail->kind == NET_MAIL_NEWS;
    if (mail->kind != NET_MAIL_SHOW)
        return true;
    n_shown++;
    assert_true(mail->frame->len <= sizeof(shown_bytes));
    memcpy(shown_bytes, mail->frame->data, mail->frame->len);
    shown = (struct frame){.data = shown_bytes, .buffer = shown_bytes, .len = mail->frame->len};
    return true;
}

static unsigned first_stack(void *context, const struct endpoint *local,
                            const struct endpoint *remote)
{
    (void)context;
    (void)local;
    (void)remote;
    return 0;
}

// What comes to one queue and concerns all is shown to all, and by them to nobody.
static void all_stacks_see_what_concerns_them(void **state)
{
    (void)state;
    struct peer p;
    struct net_config c = {
        .stacks = 2, .send = take_mail, .stack_of = first_stack, .router_advertisements = true};
    peer6_start_quiet(&p, &c);
    n_shown = n_told = 0;
    peer6_asks(&p); // who asks becomes known to all
    assert_int_equal(n_told, 1);
    uint8_t m[32];
    static const uint8_t other[16] = {0xfd, [15] = 10};
    peer6_icmp(&p, (struct peer6_header){other, ours, .hop = 255}, m,
               peer6_make_na(m, other, SOLICITED | OVERRIDE, 10));
    assert_int_equal(n_shown, 1); // the answer to another stack's question
    peer6_expect(&p, other, "UNKNOWN", 0);
    int error;
    struct endpoint to = peer6_at(other, 80);
    struct stream *s = net_connect(p.net, &to, &error);
    peer6_turn(&p);
    peer6_expect(&p, other, "INCOMPLETE", 0);
    struct net_mail mail = {.kind = NET_MAIL_SHOW, .from = 1, .frame = &shown};
    net_receive(p.net, &mail, p.now_us); // and to ours, which came to the other queue
    peer6_expect(&p, other, "REACHABLE", 10);
    assert_int_equal(n_shown, 1);
    peer6_turn(&p);
    s->ops->abort(s);
    s->ops->release(s);
    uint8_t ra[16] = {ND_ROUTER_ADVERTISEMENT, [7] = 100};
    peer6_icmp(&p, (struct peer6_header){theirs_local, all, .hop = 255, .mac = mac_of_all}, ra, 16);
    assert_int_equal(n_shown, 2);
    assert_int_equal(p.net->ip6->n_routers, 1);
    for (unsigned i = 0; i < 1000; i++)
        peer6_icmp(&p, (struct peer6_header){theirs_local, all, .hop = 255, .mac = mac_of_all}, ra,
                   i % 100 == 0 ? (peer6_turn(&p), 16) : 16);
    assert_true(n_shown < 300); // but no flood of it
    peer6_turn(&p);
    peer_stop(&p);
}

// --- routers
// ---------------------------------------------------------------------------------

struct advert {
    uint16_t lifetime_s;
    uint8_t hop_limit, flags;
    uint32_t reachable_ms, retrans_ms, mtu;
    const uint8_t *prefix; // /64, on the link
    uint32_t prefix_s;
};

static void advertise(struct peer *p, uint8_t host, struct advert a)
{
    uint8_t m[80] = {ND_ROUTER_ADVERTISEMENT}, src[16] = {0xfe, 0x80, [15] = host};
    m[4] = a.hop_limit;
    m[5] = a.flags;
    store_be16(m + 6, a.lifetime_s);
    store_be32(m + 8, a.reachable_ms);
    store_be32(m + 12, a.retrans_ms);
    uint8_t *end = nd_put_mac(m + 16, ND_OPTION_SOURCE, (const uint8_t[6]){2, 0, 0, 0, 0, host});
    if (a.mtu) {
        end[0] = ND_OPTION_MTU;
        end[1] = 1;
        store_be32(end + 4, a.mtu);
        end += 8;
    }
    if (a.prefix) {
        end[0] = ND_OPTION_PREFIX;
        end[1] = 4;
        end[2] = 64;
        end[3] = 0x80;
        store_be32(end + 4, a.prefix_s);
        memcpy(end + 16, a.prefix, 16);
        end += 32;
    }
    peer6_icmp(p, (struct peer6_header){src, all, .hop = 255, .mac = mac_of_all}, m,
               (uint32_t)(end - m));
    peer6_turn(p);
}

static const uint8_t far_away[16] = {0x20, 0x01, 0xd, 0xb8, [15] = 1};

// The last byte of the hardware address that a SYN to far_away goes to; 0: no way.
static uint8_t way(struct peer *p)
{
    int error;
    struct endpoint to = peer6_at(far_away, 80);
    struct stream *s = net_connect(p->net, &to, &error);
    if (!s) {
        assert_int_equal(error, -ENETUNREACH);
        return 0;
    }
    peer6_turn(p);
    uint8_t mac = 0;
    for (unsigned i = 0; i < p->n_out; i++)
        if (p->out[i].type == ETHERTYPE_IPV6 && p->out[i].raw[20] == PROTOCOL_TCP)
            mac = p->out[i].raw[5];
    s->ops->abort(s);
    s->ops->release(s);
    peer6_turn(p);
    return mac;
}

static void routers_are_asked_for_and_used(void **state)
{
    (void)state;
    struct peer p;
    struct net_config c = {.router_advertisements = true};
    peer6_start(&p, &c);
    peer_wait(&p, 100000);
    const uint8_t *rs = peer6_sent(&p, ND_ROUTER_SOLICITATION);
    assert_non_null(rs);
    assert_int_equal(rs[-33], 255);
    assert_true(ipv6_is_link_local(rs - 32));
    assert_memory_equal(rs - 54, ((const uint8_t[6]){0x33, 0x33, 0, 0, 0, 2}), 6);
    peer_wait(&p, 60 * SECOND); // RFC 7559: ever later
    unsigned n = 0;
    while (peer6_sent_nth(&p, ND_ROUTER_SOLICITATION, n))
        n++;
    assert_in_range(n, 3, 5);
    assert_int_equal(way(&p), 0);
    advertise(&p, 20, (struct advert){.lifetime_s = 100});
    assert_int_equal(way(&p), 20);
    assert_true(peer6_neighbour(&p, (const uint8_t[16]){0xfe, 0x80, [15] = 20}).router);
    peer_wait(&p, 50 * SECOND);
    assert_null(peer6_sent(&p, ND_ROUTER_SOLICITATION));
    advertise(&p, 20, (struct advert){.lifetime_s = 100}); // it did not answer our questions
    advertise(&p, 21, (struct advert){.lifetime_s = 1000});
    assert_int_equal(way(&p), 20); // none is better: the way stays
    advertise(&p, 22, (struct advert){.lifetime_s = 1000, .flags = 0x08});
    assert_int_equal(way(&p), 22); // RFC 4191: preferred
    advertise(&p, 22, (struct advert){.lifetime_s = 0});
    assert_int_equal(way(&p), 20);
    peer_wait(&p, 101 * SECOND); // 20 has not repeated itself
    assert_int_equal(way(&p), 21);
    // 21 says that it is no router any more.
    const uint8_t addr[16] = {0xfe, 0x80, [15] = 21};
    uint8_t m[32];
    peer6_icmp(&p, (struct peer6_header){addr, all, .hop = 255, .mac = mac_of_all}, m,
               peer6_make_na(m, addr, OVERRIDE, 21));
    assert_int_equal(way(&p), 0);
    peer6_turn(&p);
    peer_wait(&p, 5 * SECOND);
    assert_non_null(peer6_sent(&p, ND_ROUTER_SOLICITATION));
    peer_stop(&p);
}

// A connection whose router does not answer goes through another.
static void a_dead_router_is_left(void **state)
{
    (void)state;
    struct peer p;
    struct net_config c = {.router_advertisements = true};
    peer6_start_quiet(&p, &c);
    advertise(&p, 20, (struct advert){.lifetime_s = 9000});
    advertise(&p, 21, (struct advert){.lifetime_s = 9000, .flags = 0x18}); // low preference
    int error;
    struct endpoint to = peer6_at(far_away, 80);
    struct stream *s = net_connect(p.net, &to, &error);
    uint8_t last = 0;
    bool left = false;
    for (unsigned i = 0; i < 40; i++) {
        peer_wait(&p, SECOND);
        for (unsigned k = 0; k < p.n_out; k++) {
            if (p.out[k].type == ETHERTYPE_IPV6 && p.out[k].raw[20] == PROTOCOL_TCP) {
                last = p.out[k].raw[5];
                assert_true(last == 20 || last == 21);
                left |= last == 21;
            }
        }
        assert_int_equal(s->error, STREAM_OK);
    }
    assert_true(left && last == 21);
    s->ops->abort(s);
    s->ops->release(s);
    peer_stop(&p);
}

static void advertisements_have_bounds(void **state)
{
    (void)state;
    struct peer p;
    struct net_config c = {.router_advertisements = true};
    peer6_start_quiet(&p, &c);
    struct ipv6 *ip6 = p.net->ip6;
    // Not from an address of the link: nobody's router.
    uint8_t m[16] = {ND_ROUTER_ADVERTISEMENT, [7] = 100};
    peer6_icmp(&p, (struct peer6_header){theirs, all, .hop = 255, .mac = mac_of_all}, m, 16);
    assert_int_equal(peer_count(&p)->nd_bad, 1);
    assert_int_equal(ip6->n_routers, 0);
    const uint8_t near_by[16] = {0x20, 0x01, 0xd, 0xb8};
    advertise(&p, 20,
              (struct advert){.lifetime_s = 100, .hop_limit = 1, .retrans_ms = 1, .mtu = 1279});
    assert_int_equal(ip6->hop_limit, 64);
    assert_int_equal(ip6->retrans_us, SECOND);
    assert_int_equal(p.net->mtu6, 1500);
    advertise(&p, 20, (struct advert){.lifetime_s = 100, .mtu = 9000});
    assert_int_equal(p.net->mtu6, 1500);
    advertise(&p, 20,
              (struct advert){.lifetime_s = 100,
                              .hop_limit = 99,
                              .retrans_ms = 500,
                              .reachable_ms = 10000,
                              .mtu = 1400,
                              .prefix = near_by,
                              .prefix_s = 30});
    assert_int_equal(ip6->hop_limit, 99);
    assert_int_equal(ip6->retrans_us, 500000);
    assert_in_range(p.net->reachable_us[1], 5 * SECOND, 15 * SECOND);
    assert_int_equal(p.net->mtu6, 1400);
    assert_true(ipv6_is_on_link(p.net, far_away));
    assert_int_equal(way(&p), 0); // a neighbour that does not answer
    assert_string_equal(peer6_neighbour(&p, far_away).state, "INCOMPLETE");
    p.now_us += 31 * SECOND;
    peer6_turn(&p);
    assert_int_equal(way(&p), 20);
    for (uint8_t i = 30; i < 60; i++) {
        uint8_t prefix[16] = {0x20, 0x01, 0xd, 0xb8, i};
        advertise(&p, i, (struct advert){.lifetime_s = 100, .prefix = prefix, .prefix_s = 1000});
    }
    assert_int_equal(ip6->n_routers, IPV6_ROUTERS_MAX);
    assert_int_equal(ip6->n_prefixes, IPV6_PREFIXES_MAX);
    assert_true(peer_count(&p)->nd_routers_full > 0 && peer_count(&p)->nd_prefixes_full > 0);
    peer_stop(&p);

    // A router of the configuration stands above all; and advertisements can be turned off.
    struct net_config fixed = {.router_advertisements = true,
                               .gateway6 = {.family = 6, .addr = {0xfd, [15] = 9}}};
    peer6_start_quiet(&p, &fixed);
    peer6_asks(&p);
    advertise(&p, 20, (struct advert){.lifetime_s = 100, .flags = 8});
    assert_int_equal(way(&p), 9);
    peer_stop(&p);
    peer6_start_quiet(&p, NULL);
    advertise(&p, 20, (struct advert){.lifetime_s = 100});
    assert_int_equal(peer_count(&p)->nd_router_ignored, 1);
    assert_int_equal(way(&p), 0);
    peer_stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_asked_for_before_use),
        cmocka_unit_test(opening_waits_for_the_address),
        cmocka_unit_test(duplicates_are_given_up),
        cmocka_unit_test(the_address_of_the_link_is_made_anew),
        cmocka_unit_test(solicitations_are_answered),
        cmocka_unit_test(what_is_wrong_is_dropped),
        cmocka_unit_test(neighbours_are_asked_for),
        cmocka_unit_test(only_answers_to_questions_confirm),
        cmocka_unit_test(given_neighbours_stay),
        cmocka_unit_test(a_crowd_is_bounded),
        cmocka_unit_test(all_stacks_see_what_concerns_them),
        cmocka_unit_test(routers_are_asked_for_and_used),
        cmocka_unit_test(a_dead_router_is_left),
        cmocka_unit_test(advertisements_have_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
