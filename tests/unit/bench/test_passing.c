// What threads send each other: frames that came to the wrong queue, and news.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bench/passing.h"

static uint8_t bytes[128];

// An Ethernet frame with IPv4 and TCP to `port`, behind a VLAN tag or not.
static struct frame tcp_to(uint16_t port, bool vlan)
{
    uint8_t *at = bytes + 12;
    memset(bytes, 0, sizeof(bytes));
    if (vlan) {
        memcpy(at, "\x81\x00\x00\x07", 4);
        at += 4;
    }
    memcpy(at, "\x08\x00\x46", 3); // a header of 24 bytes
    at[2 + 9] = 6;
    at[2 + 24 + 2] = (uint8_t)(port >> 8);
    at[2 + 24 + 3] = (uint8_t)port;
    return (struct frame){
        .data = bytes, .len = 80, .flags = FRAME_IP_SUM_GOOD | FRAME_KEEP, .hash = 9};
}

static void ports_are_found(void **state)
{
    (void)state;
    struct frame f = tcp_to(40003, false);
    assert_int_equal(passing_port(&f), 40003);
    f = tcp_to(40003, true);
    assert_int_equal(passing_port(&f), 40003);
    f.len = 12 + 4 + 2 + 24 + 3; // cut within the port
    assert_int_equal(passing_port(&f), 0);
    f = tcp_to(40003, false);
    bytes[12 + 2 + 9] = 17; // UDP
    assert_int_equal(passing_port(&f), 0);
    f.len = 4;
    assert_int_equal(passing_port(&f), 0);
}

static void mail_travels_with_its_frame(void **state)
{
    (void)state;
    struct passing *p = passing_open(3);
    struct frame f = tcp_to(40003, false);
    struct net_mail mail = {.kind = NET_MAIL_ASK, .from = 2, .frame = &f};
    assert_int_equal(passing_home(p, 40003), 40003 % 3);
    assert_true(passing_send(p, 2, 1, &mail));
    assert_null(passing_take(p, 2));
    assert_null(passing_take(p, 0));
    struct passed *passed = passing_take(p, 1);
    assert_non_null(passed);
    assert_int_equal(passed->mail.kind, NET_MAIL_ASK);
    assert_int_equal(passed->mail.from, 2);
    assert_ptr_equal(passed->mail.frame, &passed->frame);
    assert_int_equal(passed->frame.len, f.len);
    assert_memory_equal(passed->frame.data, bytes, f.len);
    assert_int_equal(passed->frame.flags, FRAME_IP_SUM_GOOD);
    assert_int_equal(passing_port(&passed->frame), 40003);
    passing_free(passed);
    assert_null(passing_take(p, 1));
    mail = (struct net_mail){.kind = NET_MAIL_NEWS, .news = {.family = 4, .addr = {10, 0, 0, 7}}};
    assert_true(passing_send(p, 0, 1, &mail));
    passed = passing_take(p, 1);
    assert_non_null(passed);
    assert_null(passed->mail.frame);
    assert_int_equal(passed->mail.news.addr[3], 7);
    passing_free(passed);
    passing_close(p);
}

static void a_full_ring_loses_frames_and_frees_the_rest(void **state)
{
    (void)state;
    struct passing *p = passing_open(2);
    struct frame f = tcp_to(2, false);
    struct net_mail mail = {.kind = NET_MAIL_ASK, .from = 1, .frame = &f};
    unsigned sent = 0;
    while (sent < 100000 && passing_send(p, 1, 0, &mail))
        sent++;
    assert_in_range(sent, 100, 10000);
    assert_false(passing_send(p, 1, 0, &mail));
    passing_free(passing_take(p, 0));
    assert_true(passing_send(p, 1, 0, &mail));
    passing_close(p); // under the sanitizers: nothing is left
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ports_are_found),
        cmocka_unit_test(mail_travels_with_its_frame),
        cmocka_unit_test(a_full_ring_loses_frames_and_frees_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
