// The ring of one core: completions, sleeping, waking, watched descriptors.
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "drivers/io.h"

enum { LONG_US = 20 * 1000 * 1000, SHORT_US = 1000 };

static struct io *new_io(unsigned entries)
{
    char error[256] = "";
    struct io *io = io_create(entries, error, sizeof(error));
    if (!io)
        fail_msg("%s", error);
    return io;
}

static struct {
    unsigned calls;
    uint64_t tags;
} seen;

static void count(void *context, uint64_t tag, const struct io_uring_cqe *cqe)
{
    assert_ptr_equal(context, &seen);
    assert_int_equal(cqe->res, 0);
    seen.calls++;
    seen.tags ^= tag;
}

static void test_completions_reach_their_kind_with_their_tag(void **state)
{
    (void)state;
    struct io *io = new_io(8);
    const uint64_t large = 0x00ffffffffffffffull;
    memset(&seen, 0, sizeof(seen));
    io_register(io, IO_DISK, count, &seen);
    // More than the queue holds: io_sqe submits by itself.
    uint64_t tags = 0;
    for (uint64_t i = 0; i < 50; i++) {
        io_uring_prep_nop(io_sqe(io, IO_DISK, large - i));
        tags ^= large - i;
    }
    for (int i = 0; i < 1000 && seen.calls < 50; i++)
        io_turn(io);
    assert_int_equal(seen.calls, 50);
    assert_true(seen.tags == tags);
    assert_int_equal(io_turn(io), 0);
    io_destroy(io);
}

static void test_wait_ends_without_events(void **state)
{
    (void)state;
    struct io *io = new_io(8);
    assert_int_equal(io_wait(io, SHORT_US), 0);
    assert_int_equal(io_wait(io, 0), 0);
    io_destroy(io);
}

static void test_no_sleep_after_a_turn_that_brought_work(void **state)
{
    (void)state;
    struct io *io = new_io(8);
    memset(&seen, 0, sizeof(seen));
    io_register(io, IO_DISK, count, &seen);
    io_uring_prep_nop(io_sqe(io, IO_DISK, 1));
    assert_int_equal(io_turn(io), 1);
    assert_int_equal(io_wait(io, UINT64_MAX), 0); // would last for ever
    io_wake(io);
    assert_int_equal(io_wait(io, LONG_US), 1);
    io_destroy(io);
}

static void test_wake_before_the_sleep_is_not_lost(void **state)
{
    (void)state;
    struct io *io = new_io(8);
    for (int i = 0; i < 3; i++) {
        io_wake(io);
        io_wake(io);
        assert_int_equal(io_wait(io, LONG_US), 1);
        assert_int_equal(io_wait(io, SHORT_US), 0);
    }
    io_destroy(io);
}

static void *waker(void *io)
{
    io_wake(io);
    return NULL;
}

static void test_wake_from_another_thread(void **state)
{
    (void)state;
    struct io *io = new_io(8);
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, waker, io), 0);
        assert_int_equal(io_wait(io, LONG_US), 1);
        pthread_join(thread, NULL);
    }
    io_destroy(io);
}

static void test_wake_by_descriptor(void **state)
{
    (void)state;
    struct io *io = new_io(8);
    uint64_t one = 1;
    assert_int_equal(write(io_wake_fd(io), &one, sizeof(one)), sizeof(one));
    assert_int_equal(io_wait(io, LONG_US), 1);
    io_destroy(io);
}

static void test_watched_descriptor_is_a_level(void **state)
{
    (void)state;
    struct io *io = new_io(8);
    int fd[2];
    char byte = 'x';
    assert_int_equal(pipe(fd), 0);
    assert_int_equal(io_watch(io, fd[0]), 0);
    assert_int_equal(io_wait(io, SHORT_US), 0);
    assert_int_equal(write(fd[1], &byte, 1), 1);
    // As long as it is readable, each sleep ends.
    for (int i = 0; i < 3; i++)
        assert_int_equal(io_wait(io, LONG_US), 1);
    assert_int_equal(read(fd[0], &byte, 1), 1);
    // The poll that was armed while it was readable may still report once.
    unsigned n = 0;
    while (n < 3 && io_wait(io, SHORT_US))
        n++;
    assert_true(n <= 1);
    close(fd[0]);
    close(fd[1]);
    io_destroy(io);
}

static void test_too_many_watches_are_refused(void **state)
{
    (void)state;
    struct io *io = new_io(8);
    int e = 0;
    for (int i = 0; i < 100 && e == 0; i++)
        e = io_watch(io, 0);
    assert_int_equal(e, -ENOSPC);
    io_destroy(io);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_completions_reach_their_kind_with_their_tag),
        cmocka_unit_test(test_wait_ends_without_events),
        cmocka_unit_test(test_no_sleep_after_a_turn_that_brought_work),
        cmocka_unit_test(test_wake_before_the_sleep_is_not_lost),
        cmocka_unit_test(test_wake_from_another_thread),
        cmocka_unit_test(test_wake_by_descriptor),
        cmocka_unit_test(test_watched_descriptor_is_a_level),
        cmocka_unit_test(test_too_many_watches_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
