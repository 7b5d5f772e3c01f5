// CAPTURE: copies of frames, from the cores to one client of the control socket. Each core writes
// into a ring of its own (common/capture.h); READ gives the client what is there, oldest first, and
// renews the lease. There is one capture at a time. It ends with STOP, with the client's
// connection, or, when nobody reads, by the cores themselves.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "common/capture.h"
#include "controlplane/commands.h"

#define READ_BYTES_MAX (1u << 20) // of one reply
#define SNAPLEN_MAX 262144u

struct capture {
    struct server_client *client; // NULL: its client has gone while a core was being asked
    int data_pid;
    bool stopped;
    unsigned first, last, asked; // cores: from, to (exclusive), the one that is being asked
    uint64_t clock_us;           // what makes wall time of the ring's
    uint64_t bad;                // rings given up because what lay there was no frame
    struct ring {
        struct capture_ring *ring;
        uint64_t tail;
    } rings[PLANE_CORES_MAX];
    struct plane_capture question;
    size_t filter_len;
    uint8_t filter[CAPTURE_FILTER_MAX * 8];
};

static struct capture *current;

static void ring_path(const struct server_client *c, unsigned core, char *path, size_t size)
{
    char suffix[32];
    snprintf(suffix, sizeof(suffix), "capture.%u", core);
    plane_path(c->server->run_directory, c->server->port, suffix, path, size);
}

// Makes the file of a ring, all of it backed by memory, so that a full disk is an error here and
// not SIGBUS there. 0 or -errno.
static int ring_make(struct capture *k, unsigned core, const char *path)
{
    unlink(path);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    int e = posix_fallocate(fd, 0, sizeof(struct capture_ring));
    void *at =
        e ? MAP_FAILED
          : mmap(NULL, sizeof(struct capture_ring), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (!e && at == MAP_FAILED)
        e = errno;
    close(fd);
    if (e) {
        unlink(path);
        return -e;
    }
    struct capture_ring *r = at;
    r->magic = CAPTURE_MAGIC;
    atomic_store(&r->lease_us, link_now_us() + CAPTURE_LEASE_US);
    k->rings[core] = (struct ring){.ring = r};
    return 0;
}

static void ignore(void *context, enum link_outcome outcome, enum plane_message_kind kind,
                   const uint8_t *data, size_t len)
{
    (void)context, (void)outcome, (void)kind, (void)data, (void)len;
}

// The cores write no more, soon: by being told, or because the lease is over.
static void rings_stop(struct capture *k, struct link *link)
{
    for (unsigned i = k->first; i < k->last; i++) {
        if (!k->rings[i].ring)
            continue;
        atomic_store(&k->rings[i].ring->lease_us, 0);
        if (!k->stopped)
            link_ask(link, i, PLANE_CAPTURE_END, NULL, 0, ASK_TIMEOUT_MS, ignore, NULL);
    }
    k->stopped = true;
}

static void capture_free(struct capture *k, const struct server_client *c)
{
    rings_stop(k, c->server->link);
    for (unsigned i = k->first; i < k->last; i++) {
        char path[512];
        ring_path(c, i, path, sizeof(path));
        if (k->rings[i].ring) {
            unlink(path);
            munmap(k->rings[i].ring, sizeof(struct capture_ring));
        }
    }
    free(k);
    current = NULL;
}

void command_capture_abandon(struct server_client *c)
{
    if (current && current->client == c)
        capture_free(current, c);
}

// --- START ---------------------------------------------------------------------------------------

static void start_next(struct server_client *c);

static void started(void *context, enum link_outcome outcome, enum plane_message_kind kind,
                    const uint8_t *data, size_t len)
{
    struct server_client *c = context;
    struct capture *k = current;
    c->request = 0;
    char path[512];
    ring_path(c, c->core, path, sizeof(path));
    unlink(path); // it is mapped by both, or of no use
    if (outcome != LINK_REPLIED || kind != PLANE_CAPTURE ||
        !command_pass(&c->text, data, len, false)) {
        capture_free(k, c);
        command_fail(c, outcome, kind, data, len);
        return;
    }
    // A core without a queue sees no frame, and writes nothing.
    struct resp_value *v = resp_value_read((const char *)data, len);
    if (!resp_member_integer(v, "running"))
        atomic_store(&k->rings[c->core].ring->ended, 1);
    resp_value_free(v);
    if (++c->core < k->last) {
        start_next(c);
        return;
    }
    resp_close(&c->text);
    resp_close(&c->text);
    command_finish(c);
}

static void start_next(struct server_client *c)
{
    struct capture *k = current;
    uint8_t message[sizeof(k->question) + sizeof(k->filter)];
    ring_path(c, c->core, k->question.path, sizeof(k->question.path));
    int e = ring_make(k, c->core, k->question.path);
    if (e) {
        resp_text_free(&c->text);
        resp_put_error(&c->out, "ERR cannot make the ring %s: %s", k->question.path, strerror(-e));
        capture_free(k, c);
        server_done(c);
        return;
    }
    memcpy(message, &k->question, sizeof(k->question));
    memcpy(message + sizeof(k->question), k->filter, k->filter_len);
    command_ask(c, PLANE_CAPTURE, message, sizeof(k->question) + k->filter_len, ASK_TIMEOUT_MS,
                started);
}

// CAPTURE START snaplen core|* filter
static void start(struct server_client *c, const struct resp_word *words, unsigned n)
{
    uint64_t snaplen, core = 0;
    unsigned cores = link_cores(c->server->link);
    bool all = n == 5 && word_is(&words[3], "*");
    if (n != 5 || !word_number(&words[2], SNAPLEN_MAX, &snaplen) ||
        (!all && !word_number(&words[3], PLANE_CORES_MAX - 1, &core))) {
        resp_put_error(&c->out, "ERR syntax error: CAPTURE START snaplen core|* filter");
        return;
    }
    if (current) {
        resp_put_error(&c->out, "ERR another capture runs: one at a time");
        return;
    }
    if (words[4].len > sizeof(current->filter)) {
        resp_put_error(&c->out, "ERR the filter is too long: at most %u instructions",
                       CAPTURE_FILTER_MAX);
        return;
    }
    struct capture *k = calloc(1, sizeof(*k));
    if (!k) {
        resp_put_error(&c->out, "ERR no memory for the capture");
        return;
    }
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    k->clock_us = (uint64_t)wall.tv_sec * 1000000 + (uint64_t)wall.tv_nsec / 1000 - link_now_us();
    k->client = c;
    k->data_pid = link_data_pid(c->server->link);
    k->first = all ? 0 : (unsigned)core;
    k->last = all ? (cores ? cores : 1) : (unsigned)core + 1;
    k->question.snaplen = snaplen ? (uint32_t)snaplen : SNAPLEN_MAX;
    k->filter_len = words[4].len;
    memcpy(k->filter, words[4].ptr, words[4].len);
    current = k;
    c->core = k->first;
    c->text.resp = c->out.resp;
    resp_open(&c->text, '%');
    resp_field_integer(&c->text, "snaplen", k->question.snaplen);
    resp_field_open(&c->text, "cores", '*');
    start_next(c);
}

// --- READ, STOP ----------------------------------------------------------------------------------

// The ring whose next frame is the oldest.
static struct ring *oldest(struct capture *k, struct capture_frame *head, const uint8_t **bytes)
{
    struct ring *best = NULL;
    for (unsigned i = k->first; i < k->last; i++) {
        struct ring *r = &k->rings[i];
        struct capture_frame h;
        bool bad = false;
        if (!r->ring)
            continue;
        const uint8_t *p = capture_get(r->ring, &r->tail, &h, &bad);
        if (bad) { // it is not believed again
            munmap(r->ring, sizeof(*r->ring));
            r->ring = NULL;
            k->bad++;
        } else if (p && (!best || h.time_us < head->time_us)) {
            best = r;
            *head = h;
            *bytes = p;
        }
    }
    return best;
}

static bool still_runs(const struct capture *k, const struct link *link)
{
    if (k->stopped || link_data_pid(link) != k->data_pid)
        return false;
    for (unsigned i = k->first; i < k->last; i++)
        if (k->rings[i].ring && !atomic_load(&k->rings[i].ring->ended))
            return true;
    return false;
}

static void put_counts(struct resp_text *t, const struct capture *k, const struct link *link)
{
    resp_field_bool(t, "running", still_runs(k, link));
    resp_field_integer(t, "rings_lost", (int64_t)k->bad);
    resp_field_open(t, "cores", '*');
    for (unsigned i = k->first; i < k->last; i++) {
        const struct capture_ring *r = k->rings[i].ring;
        resp_open(t, '%');
        resp_field_integer(t, "core", i);
        resp_field_integer(t, "seen", r ? (int64_t)atomic_load(&r->seen) : 0);
        resp_field_integer(t, "captured", r ? (int64_t)atomic_load(&r->captured) : 0);
        resp_field_integer(t, "dropped", r ? (int64_t)atomic_load(&r->dropped) : 0);
        resp_close(t);
    }
    resp_close(t);
}

static void read_frames(struct server_client *c)
{
    struct capture *k = current;
    struct resp_text frames = {.resp = 3};
    struct capture_frame h;
    const uint8_t *bytes = NULL;
    struct ring *r;
    for (unsigned i = k->first; i < k->last && !k->stopped; i++)
        if (k->rings[i].ring)
            atomic_store(&k->rings[i].ring->lease_us, link_now_us() + CAPTURE_LEASE_US);
    while (frames.len < READ_BYTES_MAX && (r = oldest(k, &h, &bytes))) {
        uint32_t size = h.size, padded = capture_size(h.captured);
        h.time_us += k->clock_us;
        h.size = padded;
        resp_put_raw(&frames, &h, sizeof(h));
        resp_put_raw(&frames, bytes, h.captured);
        static const uint8_t zero[32];
        resp_put_raw(&frames, zero, padded - sizeof(h) - h.captured);
        r->tail += size;
        atomic_store_explicit(&r->ring->tail, r->tail, memory_order_release);
    }
    if (frames.failed) {
        resp_put_error(&c->out, "ERR no memory for the frames");
    } else {
        resp_open(&c->out, '%');
        resp_put_string(&c->out, "frames");
        resp_put_bytes(&c->out, frames.data ? frames.data : "", frames.len);
        put_counts(&c->out, k, c->server->link);
        resp_close(&c->out);
    }
    resp_text_free(&frames);
}

static void stopped(void *context, enum link_outcome outcome, enum plane_message_kind kind,
                    const uint8_t *data, size_t len)
{
    struct server_client *c = context;
    (void)outcome, (void)kind, (void)data, (void)len; // a core that is gone has stopped, too
    c->request = 0;
    if (++c->core < current->last) {
        command_ask(c, PLANE_CAPTURE_END, NULL, 0, ASK_TIMEOUT_MS, stopped);
        return;
    }
    current->stopped = true;
    resp_text_free(&c->text);
    resp_put_status(&c->out, "OK");
    server_done(c);
}

void command_capture(struct server_client *c, const struct resp_word *words, unsigned n)
{
    bool reads = word_is(&words[1], "READ"), stops = word_is(&words[1], "STOP");
    if (word_is(&words[1], "START")) {
        start(c, words, n);
    } else if (n != 2 || (!reads && !stops)) {
        resp_put_error(&c->out, "ERR syntax error: CAPTURE START|READ|STOP");
    } else if (!current || current->client != c) {
        resp_put_error(&c->out, "ERR this connection has begun no capture");
    } else if (reads) {
        read_frames(c);
    } else {
        for (unsigned i = current->first; i < current->last; i++)
            if (current->rings[i].ring)
                atomic_store(&current->rings[i].ring->lease_us, 0);
        c->core = current->first;
        command_ask(c, PLANE_CAPTURE_END, NULL, 0, ASK_TIMEOUT_MS, stopped);
    }
}
