// The segment and the locks: born whole whoever is killed when, never replaced under a holder, one
// process to a side. And the passing of descriptors.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/plane.h"

static char dir[64], path[128], error[512];

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/planes-test-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    plane_path(dir, 7711, "segment", path, sizeof(path));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static void test_both_sides_see_one(void **state)
{
    (void)state;
    struct plane_segment *a = plane_open(path, error, sizeof(error));
    assert_non_null(a);
    assert_int_equal(a->magic, PLANE_MAGIC);
    assert_int_equal(a->core[0].cpu, -1);
    struct plane_segment *b = plane_open(path, error, sizeof(error));
    assert_non_null(b);
    atomic_store(&a->data_generation, 7);
    assert_int_equal(b->data_generation, 7);
    plane_close(a);
    plane_close(b);
    // Those who come later find it as it was.
    a = plane_open(path, error, sizeof(error));
    assert_int_equal(a->data_generation, 7);
    assert_int_equal(plane_reserve(a, 2), 0);
    plane_close(a);
}

static void write_file(const char *name, const void *data, size_t len)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    close(fd);
}

static void test_leftovers_are_replaced(void **state)
{
    (void)state;
    char fresh[160];
    snprintf(fresh, sizeof(fresh), "%s.new", path);
    write_file(fresh, "half", 4); // a creator was killed before the rename
    static const size_t lengths[] = {0, 1, 16, 4096};
    for (unsigned i = 0; i < 4; i++) {
        uint8_t garbage[4096];
        memset(garbage, 0x5a, sizeof(garbage));
        write_file(path, garbage, lengths[i]);
        struct plane_segment *s = plane_open(path, error, sizeof(error));
        assert_non_null(s);
        assert_int_equal(s->version, PLANE_VERSION);
        assert_int_equal(s->data_generation, 0);
        plane_close(s);
    }
}

static void test_other_version(void **state)
{
    (void)state;
    struct plane_segment *s = plane_open(path, error, sizeof(error));
    assert_non_null(s);
    s->version = PLANE_VERSION + 1;
    // Held by someone: refused, and what the holder has mapped stays.
    assert_null(plane_open(path, error, sizeof(error)));
    assert_non_null(strstr(error, "another version"));
    assert_int_equal(s->version, PLANE_VERSION + 1);
    plane_close(s);
    // Held by nobody: replaced.
    s = plane_open(path, error, sizeof(error));
    assert_non_null(s);
    assert_int_equal(s->version, PLANE_VERSION);
    plane_close(s);
}

// Processes open it at the same time, and are killed in the middle; the survivors share one.
static void test_race_and_kill(void **state)
{
    (void)state;
    enum { ROUNDS = 30, PROCESSES = 6 };
    uint64_t random = 99;
    for (unsigned round = 0; round < ROUNDS; round++) {
        pid_t pids[PROCESSES];
        unlink(path);
        for (unsigned i = 0; i < PROCESSES; i++) {
            pids[i] = fork();
            assert_true(pids[i] >= 0);
            if (pids[i] == 0) {
                alarm(60);
                struct plane_segment *s = plane_open(path, error, sizeof(error));
                if (!s)
                    _exit(2);
                atomic_fetch_add(&s->data_generation, 1);
                _exit(0);
            }
        }
        random = random * 6364136223846793005u + 1442695040888963407u;
        unsigned victim = (unsigned)(random >> 33) % PROCESSES;
        kill(pids[victim], SIGKILL);
        uint64_t done = 0;
        for (unsigned i = 0; i < PROCESSES; i++) {
            int status;
            assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
            if (WIFEXITED(status)) {
                assert_int_equal(WEXITSTATUS(status), 0);
                done++;
            }
        }
        struct plane_segment *s = plane_open(path, error, sizeof(error));
        assert_non_null(s);
        assert_true(s->data_generation <= done + 1);
        assert_true(done >= PROCESSES - 1);
        plane_close(s);
    }
}

static void test_one_process_to_a_side(void **state)
{
    (void)state;
    int data = plane_lock(dir, 7711, "data", error, sizeof(error));
    int control = plane_lock(dir, 7711, "control", error, sizeof(error));
    int other = plane_lock(dir, 7712, "data", error, sizeof(error));
    assert_true(data >= 0 && control >= 0 && other >= 0);
    assert_true(plane_lock(dir, 7711, "data", error, sizeof(error)) < 0);
    char pid[32];
    snprintf(pid, sizeof(pid), "(pid %d)", (int)getpid());
    assert_non_null(strstr(error, pid));
    assert_non_null(strstr(error, "port 7711"));
    plane_unlock(dir, 7711, "data", data);
    data = plane_lock(dir, 7711, "data", error, sizeof(error));
    assert_true(data >= 0);
    plane_unlock(dir, 7711, "data", data);
    plane_unlock(dir, 7711, "control", control);
    plane_unlock(dir, 7712, "data", other);
    assert_true(plane_lock("/nonexistent", 1, "data", error, sizeof(error)) < 0);
}

static void test_run_directory(void **state)
{
    (void)state;
    char made[96], got[96];
    struct stat st;
    snprintf(made, sizeof(made), "%s/run", dir);
    assert_int_equal(plane_run_directory(made, got, sizeof(got)), 0);
    assert_string_equal(got, made);
    assert_int_equal(stat(made, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(plane_run_directory("/nonexistent/deeper", got, sizeof(got)), -ENOENT);
    assert_int_equal(plane_run_directory(made, got, 4), -ENAMETOOLONG);
    write_file(path, "x", 1);
    assert_int_equal(plane_run_directory(path, got, sizeof(got)), -ENOTDIR);
}

static void test_greetings(void **state)
{
    (void)state;
    int s[2], fds[4], got[4];
    uint64_t generation = 0, count;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, s), 0);
    for (unsigned i = 0; i < 4; i++)
        fds[i] = eventfd(i + 1, EFD_CLOEXEC);
    assert_int_equal(plane_attach_greeted(s[0], &generation, got, 4), -EAGAIN);
    assert_int_equal(plane_attach_greet(s[1], 42, fds, 3), 0);
    assert_int_equal(plane_attach_greeted(s[0], &generation, got, 4), 3);
    assert_int_equal(generation, 42);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(read(got[i], &count, sizeof(count)), sizeof(count));
        assert_int_equal(count, i + 1);
        assert_true(fcntl(got[i], F_GETFL) & O_NONBLOCK);
        close(got[i]);
    }
    // More than there is room for: the rest is closed, not leaked.
    assert_int_equal(plane_attach_greet(s[1], 1, fds, 4), 0);
    int before = dup(0);
    close(before);
    assert_int_equal(plane_attach_greeted(s[0], &generation, got, 1), 1);
    close(got[0]);
    int after = dup(0);
    close(after);
    assert_int_equal(before, after);
    // Something else than a greeting.
    assert_int_equal(send(s[1], "hello there, who?", 16, 0), 16);
    assert_int_equal(plane_attach_greeted(s[0], &generation, got, 4), -EPROTO);
    close(s[1]);
    assert_int_equal(plane_attach_greeted(s[0], &generation, got, 4), -ECONNRESET);
    close(s[0]);
    for (unsigned i = 0; i < 4; i++)
        close(fds[i]);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_both_sides_see_one), CASE(test_leftovers_are_replaced), CASE(test_other_version),
        CASE(test_race_and_kill),      CASE(test_one_process_to_a_side),  CASE(test_run_directory),
        CASE(test_greetings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
