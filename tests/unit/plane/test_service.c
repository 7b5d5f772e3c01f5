// The service thread: jobs of many threads, completions on their core, signals, attaching, memory.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dataplane/core/attach.h"
#include "dataplane/core/service.h"

#define POSTERS 4
#define JOBS 20000u

static char dir[64], error[512];
static _Atomic uint64_t ran;
static _Atomic int signalled, woken;

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/planes-test-XXXXXX");
    ran = 0;
    signalled = woken = 0;
    alarm(120); // for a machine that is stuck; nothing is measured
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static void on_signal(void *context, int number, const char *sender, unsigned times)
{
    char here[32];
    snprintf(here, sizeof(here), "pid %d (", (int)getpid());
    assert(strncmp(sender, here, strlen(here)) == 0);
    assert(times == 1);
    atomic_store((_Atomic int *)context, number);
}

static void on_wake(void *context, unsigned core)
{
    (void)context;
    atomic_fetch_add(&woken, (int)core + 1);
}

// Each poster's numbers must come in its order.
static uint32_t last[POSTERS];
static bool disorder;

static void job_count(void *arg)
{
    uint32_t poster = (uint32_t)((uintptr_t)arg >> 24), n = (uint32_t)(uintptr_t)arg & 0xffffff;
    if (n != last[poster] + 1)
        disorder = true;
    last[poster] = n;
    atomic_fetch_add(&ran, 1);
}

struct poster {
    struct service *service;
    unsigned index;
};

static void *post_many(void *context)
{
    struct poster *p = context;
    for (uint32_t i = 1; i <= JOBS;)
        if (service_post(p->service, job_count,
                         (void *)(((uintptr_t)p->index << 24) | (uintptr_t)i)))
            i++;
        else
            sched_yield();
    return NULL;
}

static void test_jobs_of_many_threads(void **state)
{
    (void)state;
    struct service *s = service_start(&(struct service_options){0}, error, sizeof(error));
    assert_non_null(s);
    memset(last, 0, sizeof(last));
    disorder = false;
    pthread_t threads[POSTERS];
    struct poster posters[POSTERS];
    for (unsigned i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){s, i};
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &posters[i]), 0);
    }
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    service_stop(s); // runs what is left
    assert_int_equal(ran, POSTERS * JOBS);
    assert_false(disorder);
}

static void job_double(void *arg)
{
    *(int *)arg *= 2;
}

static void done_add(void *arg)
{
    *(int *)arg += 1;
}

static void test_calls_complete_on_their_core(void **state)
{
    (void)state;
    struct service_options options = {.wake = on_wake};
    struct service *s = service_start(&options, error, sizeof(error));
    assert_non_null(s);
    enum { CALLS = 1000 };
    static int value[CALLS];
    unsigned posted = 0, done = 0;
    for (int i = 0; i < CALLS; i++)
        value[i] = i;
    while (done < CALLS) {
        while (posted < CALLS && service_call(s, 3, job_double, done_add, &value[posted]))
            posted++;
        assert_true(posted - done <= SERVICE_CALLS_MAX);
        assert_int_equal(service_complete(s, 2), 0);
        done += service_complete(s, 3);
        sched_yield();
    }
    for (int i = 0; i < CALLS; i++)
        assert_int_equal(value[i], 2 * i + 1);
    service_stop(s);
    assert_int_equal(woken, 4 * CALLS);
}

static void test_signals_and_memory(void **state)
{
    (void)state;
    struct service_options options = {.signal = on_signal, .context = &signalled};
    struct service *s = service_start(&options, error, sizeof(error));
    assert_non_null(s);
    kill(getpid(), SIGTERM);
    while (!atomic_load(&signalled))
        sched_yield();
    assert_int_equal(signalled, SIGTERM);
    struct service_memory m;
    service_memory(s, &m);
    assert_true(m.resident > 0);
    assert_true(m.total > m.resident);
    service_stop(s);
}

static void wait_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 60000), 1);
}

static uint64_t counted(int fd)
{
    uint64_t count = 0;
    return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static int attach_as_control(int wake, int *cores, uint64_t *generation)
{
    int fd = plane_attach_connect(dir, 7711);
    assert_true(fd >= 0);
    assert_int_equal(plane_attach_greet(fd, 5, &wake, 1), 0);
    wait_readable(fd);
    assert_int_equal(plane_attach_greeted(fd, generation, cores, PLANE_CORES_MAX), 2);
    return fd;
}

// The control plane comes, goes, and comes again; cores wake whoever is there, and only who sleeps.
static void test_attaching(void **state)
{
    (void)state;
    int wakes[2] = {eventfd(0, EFD_NONBLOCK), eventfd(0, EFD_NONBLOCK)};
    static struct plane_channel channel;
    struct attach *a = attach_open(dir, 7711, 9, 2, wakes, error, sizeof(error));
    assert_non_null(a);
    struct service_options options = {.attach = a};
    struct service *s = service_start(&options, error, sizeof(error));
    assert_non_null(s);
    attach_wake_control(a, &channel); // nobody is there: nothing happens
    for (unsigned round = 0; round < 3; round++) {
        int event = eventfd(0, EFD_NONBLOCK), cores[PLANE_CORES_MAX];
        uint64_t generation;
        int fd = attach_as_control(event, cores, &generation);
        assert_int_equal(generation, 9);
        while (!attach_connected(a))
            sched_yield();
        uint64_t one = 1;
        assert_int_equal(write(cores[1], &one, sizeof(one)), sizeof(one));
        assert_int_equal(counted(wakes[1]), 1);
        atomic_store(&channel.control_sleeps, 0);
        attach_wake_control(a, &channel);
        assert_int_equal(counted(event), 0);
        atomic_store(&channel.control_sleeps, 1);
        attach_wake_control(a, &channel);
        assert_int_equal(counted(event), 1);
        assert_int_equal(channel.control_sleeps, 0);
        if (round == 1) { // its successor comes before its end was seen
            int event2 = eventfd(0, EFD_NONBLOCK), cores2[PLANE_CORES_MAX];
            int fd2 = attach_as_control(event2, cores2, &generation);
            wait_readable(fd); // dropped
            atomic_store(&channel.control_sleeps, 1);
            uint64_t got;
            while (!(got = counted(event2))) {
                atomic_store(&channel.control_sleeps, 1);
                attach_wake_control(a, &channel);
                sched_yield();
            }
            assert_true(got > 0);
            close(cores2[0]);
            close(cores2[1]);
            close(event2);
            close(fd2);
        }
        close(cores[0]);
        close(cores[1]);
        close(fd);
        close(event);
        while (attach_connected(a))
            sched_yield();
    }
    // A stranger with something else to say is not taken for a control plane.
    int fd = plane_attach_connect(dir, 7711);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "garbage", 7), 7);
    char byte;
    wait_readable(fd);
    while (read(fd, &byte, 1) > 0)
        wait_readable(fd);
    assert_false(attach_connected(a));
    close(fd);
    service_stop(s);
    attach_close(a);
    assert_int_equal(plane_attach_connect(dir, 7711), -ENOENT);
    close(wakes[0]);
    close(wakes[1]);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_jobs_of_many_threads),
        CASE(test_calls_complete_on_their_core),
        CASE(test_signals_and_memory),
        CASE(test_attaching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
