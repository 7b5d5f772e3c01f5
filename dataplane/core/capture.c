// Copies of frames for an operator: those that a filter takes go into a ring in shared memory that
// the control plane reads. The core never waits for the reader, and pays one look at `c->capture` a
// burst while nothing is captured.
//
// The filter is classic BPF, as pcap_compile makes it, and comes from outside: it is checked before
// it runs (it cannot jump backwards, so its length bounds its time). A capture ends when it is told
// to, or when nobody has renewed its lease.
#include <errno.h>
#include <fcntl.h>
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <pcap/bpf.h> // needs the names of sys/types.h before it

#include "common/capture.h"
#include "common/resp_text.h"
#include "dataplane/core/capture.h"
#include "dataplane/core/message.h"
#include "dataplane/core/service.h"

#define TX_CHUNK 32 // frames that are copied and sent together

struct capture {
    struct core *core;
    struct capture_ring *ring;
    uint64_t head; // written; what the ring says may be less
    uint32_t snaplen;
    // Of the request, until it is answered.
    struct plane_message asker;
    char path[PLANE_CAPTURE_PATH];
    int error;
    unsigned filter_len; // 0: every frame
    struct bpf_insn filter[];
};

// Every instruction that the interpreter knows. libpcap's own check looks at their classes only,
// and its interpreter aborts the process where it meets another.
static bool known(uint16_t code)
{
    static const uint8_t codes[] = {
        0x06, 0x16,                                                             // ret
        0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x80, 0x00, 0x60,                   // ld
        0x81, 0xb1, 0x01, 0x61,                                                 // ldx
        0x02, 0x03,                                                             // st, stx
        0x05, 0x15, 0x1d, 0x25, 0x2d, 0x35, 0x3d, 0x45, 0x4d,                   // jumps
        0x04, 0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x34, 0x3c, 0x44, 0x4c, 0x54, 0x5c, // arithmetic
        0x64, 0x6c, 0x74, 0x7c, 0x84, 0x94, 0x9c, 0xa4, 0xac, 0x07, 0x87,       // tax, txa
    };
    for (unsigned i = 0; i < sizeof(codes); i++)
        if (codes[i] == code)
            return true;
    return false;
}

// libpcap's own check lets a jump wrap around, which would be one backwards or out of the program.
static bool instructions_good(const struct bpf_insn *insns, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!known(insns[i].code))
            return false;
        size_t behind = n - i - 1; // instructions that a jump may land on
        if (BPF_CLASS(insns[i].code) != BPF_JMP)
            continue;
        if (BPF_OP(insns[i].code) == BPF_JA ? insns[i].k >= behind
                                            : insns[i].jt >= behind || insns[i].jf >= behind)
            return false;
    }
    return true;
}

const char *capture_filter_wrong(const void *program, size_t len)
{
    const struct bpf_insn *insns = program;
    if (len % sizeof(*insns))
        return "the filter is no program of BPF";
    size_t n = len / sizeof(*insns);
    if (n > CAPTURE_FILTER_MAX)
        return "the filter is too long: at most 1024 instructions";
    if (n && (!instructions_good(insns, n) || !bpf_validate(insns, (int)n)))
        return "the filter is no valid program of BPF";
    return NULL;
}

// --- frames

enum { PASSED_BY, TAKEN, DROPPED };

static int capture_frame_put(struct capture *k, const struct frame *f, uint16_t flags,
                             uint64_t now_us)
{
    uint32_t want = k->snaplen;
    if (k->filter_len) {
        u_int accepted = bpf_filter(k->filter, f->data, f->len, f->len);
        if (!accepted)
            return PASSED_BY;
        want = accepted < want ? accepted : want;
    }
    struct capture_frame h = {.captured = f->len < want ? f->len : want,
                              .len = f->len,
                              .flags = flags,
                              .core = (uint16_t)k->core->index,
                              .time_us = now_us};
    uint8_t *to = capture_put(k->ring, &k->head, &h);
    if (!to)
        return DROPPED;
    memcpy(to, f->data, h.captured);
    return TAKEN;
}

static void capture_count(struct capture *k, const unsigned counts[3])
{
    struct capture_ring *r = k->ring;
    k->core->counters.capture_frames += counts[TAKEN];
    k->core->counters.capture_dropped += counts[DROPPED];
#define ADD(field, n)                                                                             \
    atomic_store_explicit(&r->field, atomic_load_explicit(&r->field, memory_order_relaxed) + (n), \
                          memory_order_relaxed)
    ADD(seen, counts[PASSED_BY] + counts[TAKEN] + counts[DROPPED]);
    ADD(captured, counts[TAKEN]);
    ADD(dropped, counts[DROPPED]);
#undef ADD
    atomic_store_explicit(&r->head, k->head, memory_order_release);
}

static uint64_t capture_now(struct core *c)
{
    uint64_t us = c->now_us, ms; // never goes back
    core_clock_read(&c->clock, &us, &ms);
    return us;
}

void capture_received(struct core *c, struct frame **frames, unsigned n)
{
    struct capture *k = c->capture;
    uint64_t now_us = capture_now(c);
    unsigned counts[3] = {0};
    for (unsigned i = 0; i < n; i++)
        counts[capture_frame_put(k, frames[i], CAPTURE_IN, now_us)]++;
    capture_count(k, counts);
    capture_look(c);
}

// A frame belongs to the port once it is given away, so the copy is made before; what the port did
// not take is forgotten again.
unsigned capture_sending(struct core *c, struct frame **frames, unsigned n)
{
    struct capture *k = c->capture;
    unsigned done = 0;
    while (done < n) {
        unsigned chunk = n - done < TX_CHUNK ? n - done : TX_CHUNK, counts[3] = {0};
        uint64_t heads[TX_CHUNK] = {0}, before = k->head, now_us = capture_now(c);
        uint8_t what[TX_CHUNK] = {0};
        for (unsigned i = 0; i < chunk; i++) {
            what[i] = (uint8_t)capture_frame_put(k, frames[done + i], CAPTURE_OUT, now_us);
            heads[i] = k->head;
        }
        unsigned sent = port_tx(c->port, frames + done, chunk);
        k->head = sent ? heads[sent - 1] : before;
        for (unsigned i = 0; i < sent; i++)
            counts[what[i]]++;
        capture_count(k, counts);
        done += sent;
        if (sent < chunk)
            break;
    }
    capture_look(c);
    return done;
}

// --- beginning and ending

static void unmap(void *arg)
{
    struct capture *k = arg;
    munmap(k->ring, sizeof(*k->ring));
    mi_free(k);
}

void capture_end(struct core *c)
{
    struct capture *k = c->capture;
    if (!k)
        return;
    c->capture = NULL;
    atomic_store_explicit(&k->ring->ended, 1, memory_order_release);
    // Unmapping may wait for other threads' page tables: not here, unless there is no other place.
    if (!c->server->service || !service_post(c->server->service, unmap, k))
        unmap(k);
}

void capture_look(struct core *c)
{
    if (c->capture &&
        capture_now(c) > atomic_load_explicit(&c->capture->ring->lease_us, memory_order_relaxed))
        capture_end(c);
}

static void refuse(struct core *c, const struct plane_message *m, const char *why)
{
    control_answer(c, PLANE_ERROR, m, why, strlen(why));
}

// On the service thread.
static void map(void *arg)
{
    struct capture *k = arg;
    struct stat st;
    int fd = open(k->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    void *at = MAP_FAILED;
    if (fd >= 0 && fstat(fd, &st) == 0) {
        if (st.st_size == sizeof(*k->ring))
            at = mmap(NULL, sizeof(*k->ring), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
                      0);
        else
            errno = EINVAL;
    }
    k->error = at == MAP_FAILED ? errno : 0;
    k->ring = at == MAP_FAILED ? NULL : at;
    if (fd >= 0)
        close(fd);
}

static void mapped(void *arg)
{
    struct capture *k = arg;
    struct core *c = k->core;
    if (!k->ring || k->ring->magic != CAPTURE_MAGIC) {
        char text[128];
        int n = snprintf(text, sizeof(text), "the core cannot map the ring of the capture: %s",
                         k->ring ? "it is none" : strerror(k->error));
        control_answer(c, PLANE_ERROR, &k->asker, text, (size_t)n);
        if (k->ring)
            munmap(k->ring, sizeof(*k->ring));
        mi_free(k);
        return;
    }
    capture_end(c); // of a control plane that died
    k->head = atomic_load_explicit(&k->ring->head, memory_order_relaxed);
    c->capture = k;
    tell_capture(c, &k->asker);
}

void tell_capture(struct core *c, const struct plane_message *m)
{
    if (!c->server->dpdk) {
        refuse(c, m, "with transport socket the kernel has the NIC: capture with tcpdump");
        return;
    }
    struct resp_text t = {.resp = 3};
    char name[96];
    const struct nic_info *info = nic_info(c->server->nic);
    snprintf(name, sizeof(name), "%s core %u", info->device, c->index);
    resp_open(&t, '%');
    resp_field_integer(&t, "core", c->index);
    resp_field_bool(&t, "running", c->capture != NULL);
    resp_field_string(&t, "name", name);
    resp_field_integer(&t, "vlan", c->server->net_config.vlan);
    resp_put_string(&t, "mac");
    resp_put_bytes(&t, info->mac, sizeof(info->mac));
    resp_close(&t);
    if (!t.failed)
        control_answer(c, (enum plane_message_kind)m->kind, m, t.data, t.len);
    resp_text_free(&t);
}

void capture_begin(struct core *c, const struct plane_message *m, const uint8_t *data, size_t len)
{
    struct plane_capture ask;
    if (!c->server->dpdk) {
        refuse(c, m, "with transport socket the kernel has the NIC: capture with tcpdump");
        return;
    }
    if (len < sizeof(ask)) {
        refuse(c, m, "the question is too short");
        return;
    }
    memcpy(&ask, data, sizeof(ask));
    ask.path[sizeof(ask.path) - 1] = '\0';
    data += sizeof(ask);
    len -= sizeof(ask);
    // A copy that is aligned, and that nobody changes behind our back.
    struct capture *k = mi_zalloc(sizeof(*k) + len);
    if (!k) {
        refuse(c, m, "no memory for the filter");
        return;
    }
    memcpy(k->filter, data, len);
    const char *wrong = capture_filter_wrong(k->filter, len);
    if (wrong || !c->port) {
        if (wrong)
            refuse(c, m, wrong);
        else
            tell_capture(c, m); // fewer queues than cores: no frame passes here
        mi_free(k);
        return;
    }
    k->core = c;
    k->asker = *m;
    k->snaplen = ask.snaplen;
    k->filter_len = (unsigned)(len / sizeof(struct bpf_insn));
    memcpy(k->path, ask.path, sizeof(k->path));
    if (!c->server->service || !service_call(c->server->service, c->index, map, mapped, k)) {
        refuse(c, m, "the server is starting or too busy: try again");
        mi_free(k);
    }
}
