#include "controlplane/link.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"

#define RETRY_US 100000u      // between attempts to attach
#define HEARTBEAT_US 500000u  // between stamps of our heartbeat, and looks at the cores'
#define SAMPLE_US 1000000u    // between samples of the counters
#define GREETING_US 2000000u  // a data plane that accepts and does not greet is hung
#define MESSAGES_PER_TURN 256 // of one core, so that its flood does not starve the clients

struct asked {
    uint64_t request; // 0: free
    unsigned core;
    uint64_t deadline_us;
    link_reply_fn *reply;
    void *context;
    uint8_t *data; // parts that have come
    size_t len, cap;
};

struct link {
    char run_directory[256];
    unsigned port;
    int lock, epoll, event;
    int socket; // to the data plane, -1: none
    bool attached;
    uint64_t connected_us, retry_us, heartbeat_us, sample_us;
    int data_pid;
    unsigned cores;
    int core_wake_fds[PLANE_CORES_MAX];
    struct plane_segment *segment;
    uint64_t generation, next_request;
    struct asked asked[LINK_ASKED_MAX];
    unsigned asked_count;
    bool hung[PLANE_CORES_MAX];
    uint64_t resets_told[PLANE_CORES_MAX];
    struct link_sample now[PLANE_CORES_MAX], before[PLANE_CORES_MAX];
    char told[512]; // the last complaint about attaching, so that it is logged once
};

uint64_t link_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int link_poll(struct link *l, int fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e) ? -errno : 0;
}

// Opens the segment that has the name now: the data plane may have made a new one.
static bool segment_open(struct link *l, char *error, size_t error_size)
{
    char path[512];
    plane_path(l->run_directory, l->port, "segment", path, sizeof(path));
    struct plane_segment *s = plane_open(path, error, error_size);
    if (!s)
        return false;
    plane_close(l->segment);
    l->segment = s;
    uint64_t last = atomic_load_explicit(&s->control_generation, memory_order_relaxed);
    l->generation = (last > l->generation ? last : l->generation) + 1;
    atomic_store_explicit(&s->control_generation, l->generation, memory_order_release);
    atomic_store_explicit(&s->control_pid, (int32_t)getpid(), memory_order_relaxed);
    atomic_store_explicit(&s->control_started_ms, wall_ms(), memory_order_relaxed);
    atomic_store_explicit(&s->control_heartbeat_us, link_now_us(), memory_order_relaxed);
    atomic_store_explicit(&s->lease.revoked, 0, memory_order_relaxed);
    atomic_store_explicit(&s->lease.generation, l->generation, memory_order_relaxed);
    atomic_store_explicit(&s->lease.until_us, UINT64_MAX, memory_order_release);
    return true;
}

struct link *link_open(const struct link_options *options, char *error, size_t error_size)
{
    struct link *l = calloc(1, sizeof(*l));
    if (!l) {
        snprintf(error, error_size, "no memory");
        return NULL;
    }
    snprintf(l->run_directory, sizeof(l->run_directory), "%s", options->run_directory);
    l->port = options->port;
    l->socket = -1;
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->lock = plane_lock(l->run_directory, l->port, "control", error, error_size);
    if (l->lock < 0 || !segment_open(l, error, error_size)) {
        link_close(l);
        return NULL;
    }
    if (l->epoll < 0 || l->event < 0 || link_poll(l, l->event)) {
        snprintf(error, error_size, "cannot make an epoll or event descriptor: %s",
                 strerror(errno));
        link_close(l);
        return NULL;
    }
    return l;
}

// --- questions -----------------------------------------------------------------------------------

static void asked_end(struct link *l, struct asked *a, enum link_outcome outcome,
                      enum plane_message_kind kind, const uint8_t *data, size_t len)
{
    struct asked ended = *a;
    *a = (struct asked){0};
    l->asked_count--;
    ended.reply(ended.context, outcome, kind, data, len);
    free(ended.data);
}

static struct asked *asked_find(struct link *l, uint64_t request)
{
    for (unsigned i = 0; request && i < LINK_ASKED_MAX; i++)
        if (l->asked[i].request == request)
            return &l->asked[i];
    return NULL;
}

static enum link_outcome link_send(struct link *l, unsigned core, enum plane_message_kind kind,
                                   uint64_t request, const void *data, size_t len)
{
    if (!l->attached || core >= l->cores)
        return LINK_GONE;
    if (len > PLANE_SEND_MAX)
        return LINK_TOO_LONG;
    struct plane_channel *channel = &l->segment->channel[core];
    if (!plane_send(&channel->to_core, kind, request, l->generation, data, len))
        return LINK_BUSY;
    // Pairs with the core's: flag, fence, look at the ring, sleep.
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&channel->core_sleeps, memory_order_relaxed)) {
        uint64_t one = 1;
        ssize_t n = write(l->core_wake_fds[core], &one, sizeof(one));
        (void)n; // a full counter has woken it already
    }
    return LINK_REPLIED;
}

uint64_t link_ask(struct link *l, unsigned core, enum plane_message_kind kind, const void *data,
                  size_t len, unsigned timeout_ms, link_reply_fn *reply, void *context)
{
    struct asked *a = NULL;
    for (unsigned i = 0; i < LINK_ASKED_MAX && !a; i++)
        if (!l->asked[i].request)
            a = &l->asked[i];
    enum link_outcome outcome = LINK_BUSY;
    uint64_t request = ++l->next_request;
    if (a)
        outcome = link_send(l, core, kind, request, data, len);
    if (outcome != LINK_REPLIED) {
        reply(context, outcome, PLANE_ERROR, NULL, 0);
        return 0;
    }
    *a = (struct asked){.request = request,
                        .core = core,
                        .deadline_us = link_now_us() + timeout_ms * 1000ull,
                        .reply = reply,
                        .context = context};
    l->asked_count++;
    return request;
}

void link_forget(struct link *l, uint64_t request)
{
    struct asked *a = asked_find(l, request);
    if (!a)
        return;
    free(a->data);
    *a = (struct asked){0};
    l->asked_count--;
}

static bool asked_append(struct asked *a, const uint8_t *data, size_t len)
{
    if (a->len + len > LINK_REPLY_MAX)
        return false;
    if (a->len + len > a->cap) {
        size_t cap = a->cap ? a->cap * 2 : 64 * 1024;
        while (cap < a->len + len)
            cap *= 2;
        uint8_t *grown = realloc(a->data, cap);
        if (!grown)
            return false;
        a->data = grown;
        a->cap = cap;
    }
    memcpy(a->data + a->len, data, len);
    a->len += len;
    return true;
}

static void message_take(struct link *l, unsigned core, const struct plane_message *m,
                         const uint8_t *data, size_t len)
{
    struct asked *a = asked_find(l, m->request);
    // Replies to our predecessor, and to those who did not wait, are nobody's.
    if (m->generation != l->generation || !a || a->core != core)
        return;
    if (m->flags & PLANE_MORE || a->len) {
        if (!asked_append(a, data, len)) {
            asked_end(l, a, LINK_TOO_LONG, PLANE_ERROR, NULL, 0);
            return;
        }
        if (m->flags & PLANE_MORE)
            return;
        asked_end(l, a, LINK_REPLIED, m->kind, a->data, a->len);
        return;
    }
    asked_end(l, a, LINK_REPLIED, m->kind, data, len);
}

// Answers were in what was thrown away: who waits for them is told now.
static void core_lost(struct link *l, unsigned core)
{
    static const uint8_t text[] = "the answer was lost in garbage: try again, and see the log";
    for (unsigned i = 0; i < LINK_ASKED_MAX; i++)
        if (l->asked[i].request && l->asked[i].core == core)
            asked_end(l, &l->asked[i], LINK_REPLIED, PLANE_ERROR, text, sizeof(text) - 1);
}

static void messages_take(struct link *l)
{
    for (unsigned core = 0; core < l->cores && l->attached; core++) {
        struct plane_ring *ring = &l->segment->channel[core].to_control;
        const struct plane_message *m;
        const uint8_t *data;
        size_t len;
        unsigned n = 0;
        while (n++ < MESSAGES_PER_TURN && (m = plane_receive(ring, &data, &len))) {
            struct plane_message head = *m;
            message_take(l, core, &head, data, len);
            plane_received(ring);
        }
        uint64_t resets = atomic_load_explicit(&ring->resets, memory_order_relaxed);
        if (resets != l->resets_told[core]) {
            l->resets_told[core] = resets;
            log_warning("Core %u has put garbage into its channel: the channel was emptied", core);
            core_lost(l, core);
        }
    }
}

static void questions_expire(struct link *l, uint64_t now)
{
    for (unsigned i = 0; l->asked_count && i < LINK_ASKED_MAX; i++)
        if (l->asked[i].request && now >= l->asked[i].deadline_us)
            asked_end(l, &l->asked[i], LINK_TIMED_OUT, PLANE_ERROR, NULL, 0);
}

// --- attaching -----------------------------------------------------------------------------------

// Logs a reason once, until it changes.
static void link_tell(struct link *l, const char *text)
{
    if (strcmp(l->told, text) == 0)
        return;
    snprintf(l->told, sizeof(l->told), "%s", text);
    log_notice("%s", text);
}

static void link_detach(struct link *l)
{
    if (l->socket >= 0)
        close(l->socket);
    l->socket = -1;
    l->retry_us = link_now_us() + RETRY_US;
    if (!l->attached)
        return;
    l->attached = false;
    for (unsigned i = 0; i < l->cores; i++)
        close(l->core_wake_fds[i]);
    l->cores = 0;
    l->data_pid = 0;
    for (unsigned i = 0; i < LINK_ASKED_MAX; i++)
        if (l->asked[i].request)
            asked_end(l, &l->asked[i], LINK_GONE, PLANE_ERROR, NULL, 0);
}

static void link_connect(struct link *l)
{
    l->retry_us = link_now_us() + RETRY_US;
    int fd = plane_attach_connect(l->run_directory, l->port);
    if (fd < 0) {
        link_tell(l, "Waiting for a data plane to attach to");
        return;
    }
    struct ucred peer = {0};
    socklen_t size = sizeof(peer);
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
    // The segment is looked up after the connection is there: a data plane makes it before it
    // listens.
    char error[512];
    if (!segment_open(l, error, sizeof(error))) {
        link_tell(l, error);
        close(fd);
        return;
    }
    if (plane_attach_greet(fd, l->generation, &l->event, 1) || link_poll(l, fd)) {
        close(fd);
        return;
    }
    l->socket = fd;
    l->data_pid = peer.pid;
    l->connected_us = link_now_us();
}

static void link_greeted(struct link *l)
{
    uint64_t generation;
    int n = plane_attach_greeted(l->socket, &generation, l->core_wake_fds, PLANE_CORES_MAX);
    if (n == -EAGAIN) {
        if (link_now_us() - l->connected_us > GREETING_US) {
            link_tell(l, "The data plane accepts connections and does not greet: it hangs");
            link_detach(l);
        }
        return;
    }
    if (n <= 0) {
        if (n == -EPROTO)
            link_tell(l, "The data plane is of another version: restart both planes");
        link_detach(l);
        return;
    }
    l->attached = true;
    l->cores = (unsigned)n;
    memset(l->hung, 0, sizeof(l->hung));
    memset(l->now, 0, sizeof(l->now));
    memset(l->before, 0, sizeof(l->before));
    l->sample_us = 0;
    for (unsigned i = 0; i < l->cores; i++) {
        plane_discard(&l->segment->channel[i].to_control);
        l->resets_told[i] = atomic_load(&l->segment->channel[i].to_control.resets);
    }
    l->told[0] = '\0';
    log_notice("Attached to the data plane (pid %d, %u core%s, generation %llu)", l->data_pid,
               l->cores, l->cores == 1 ? "" : "s", (unsigned long long)generation);
}

static void socket_turn(struct link *l)
{
    if (l->socket < 0)
        return;
    if (!l->attached) {
        link_greeted(l);
        return;
    }
    char byte;
    ssize_t n = recv(l->socket, &byte, 1, MSG_DONTWAIT);
    if (n >= 0 || (errno != EAGAIN && errno != EINTR)) {
        char crash[PLANE_CRASH_TEXT_MAX];
        plane_crash_text(l->segment, crash);
        if (*crash)
            log_warning("The data plane (pid %d) has crashed%s", l->data_pid, crash);
        else
            log_notice("The data plane (pid %d) has gone", l->data_pid);
        link_detach(l);
    }
}

// --- watching ------------------------------------------------------------------------------------

static void sample_core(const struct plane_core *core, struct link_sample *s, uint64_t now)
{
#define LOOK(field) atomic_load_explicit(&core->field, memory_order_relaxed)
    s->at_us = now;
    s->busy_cycles = LOOK(busy_cycles);
    s->idle_cycles = LOOK(idle_cycles);
    for (unsigned i = 0; i < PLANE_STAGES; i++)
        s->stage_cycles[i] = LOOK(stage_cycles[i]);
    s->commands = LOOK(commands);
    s->bytes_in = LOOK(bytes_in);
    s->bytes_out = LOOK(bytes_out);
#undef LOOK
}

static void cores_sample(struct link *l, uint64_t now)
{
    l->sample_us = now + SAMPLE_US;
    for (unsigned i = 0; i < l->cores; i++) {
        l->before[i] = l->now[i];
        sample_core(&l->segment->core[i], &l->now[i], now);
    }
}

static void cores_watch(struct link *l, uint64_t now)
{
    if (!atomic_load_explicit(&l->segment->data_ready, memory_order_acquire))
        return;
    for (unsigned i = 0; i < l->cores; i++) {
        const struct plane_core *core = &l->segment->core[i];
        uint64_t beat = atomic_load_explicit(&core->heartbeat_us, memory_order_relaxed);
        bool hung = now > beat && now - beat > LINK_HUNG_US;
        if (hung && !l->hung[i])
            log_warning("Core %u (thread %d) has not turned for %.1f seconds: it hangs", i,
                        (int)atomic_load(&core->thread_id), (double)(now - beat) / 1e6);
        else if (!hung && l->hung[i])
            log_notice("Core %u turns again", i);
        l->hung[i] = hung;
    }
}

void link_turn(struct link *l)
{
    uint64_t count;
    ssize_t n = read(l->event, &count, sizeof(count));
    (void)n;
    uint64_t now = link_now_us();
    if (l->socket < 0 && now >= l->retry_us)
        link_connect(l);
    socket_turn(l);
    messages_take(l);
    questions_expire(l, now);
    if (now >= l->heartbeat_us) {
        l->heartbeat_us = now + HEARTBEAT_US;
        atomic_store_explicit(&l->segment->control_heartbeat_us, now, memory_order_relaxed);
        if (l->attached)
            cores_watch(l, now);
    }
    if (l->attached && now >= l->sample_us)
        cores_sample(l, now);
}

int link_timeout_ms(const struct link *l)
{
    uint64_t next = l->heartbeat_us;
    if (l->socket < 0 && l->retry_us < next)
        next = l->retry_us;
    if (l->attached && l->sample_us < next)
        next = l->sample_us;
    for (unsigned i = 0; l->asked_count && i < LINK_ASKED_MAX; i++)
        if (l->asked[i].request && l->asked[i].deadline_us < next)
            next = l->asked[i].deadline_us;
    uint64_t now = link_now_us();
    return next <= now ? 0 : (int)((next - now + 999) / 1000);
}

bool link_sleep(struct link *l)
{
    for (unsigned i = 0; i < l->cores; i++)
        atomic_store_explicit(&l->segment->channel[i].control_sleeps, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned i = 0; i < l->cores; i++) {
        struct plane_ring *ring = &l->segment->channel[i].to_control;
        if (atomic_load_explicit(&ring->head, memory_order_acquire) !=
            atomic_load_explicit(&ring->tail, memory_order_relaxed))
            return true;
    }
    return false;
}

void link_awake(struct link *l)
{
    for (unsigned i = 0; i < l->cores; i++)
        atomic_store_explicit(&l->segment->channel[i].control_sleeps, 0, memory_order_relaxed);
}

// --- looking -------------------------------------------------------------------------------------

int link_fd(const struct link *l)
{
    return l->epoll;
}

bool link_attached(const struct link *l)
{
    return l->attached;
}

unsigned link_cores(const struct link *l)
{
    return l->attached ? l->cores : 0;
}

int link_data_pid(const struct link *l)
{
    return l->attached ? l->data_pid : 0;
}

struct plane_segment *link_segment(const struct link *l)
{
    return l->segment;
}

bool link_core_hung(const struct link *l, unsigned core)
{
    return l->hung[core];
}

void link_samples(const struct link *l, unsigned core, struct link_sample *now,
                  struct link_sample *before)
{
    *now = l->now[core];
    *before = l->before[core];
    // Less than a second after attaching, or never since: from the start of the data plane.
    if (!now->at_us)
        sample_core(&l->segment->core[core], now, link_now_us());
}

void link_close(struct link *l)
{
    if (!l)
        return;
    link_detach(l);
    if (l->segment) {
        atomic_store_explicit(&l->segment->control_pid, 0, memory_order_relaxed);
        plane_close(l->segment);
    }
    if (l->lock >= 0)
        plane_leave(l->run_directory, l->port, "control", l->lock);
    if (l->event >= 0)
        close(l->event);
    if (l->epoll >= 0)
        close(l->epoll);
    free(l);
}
