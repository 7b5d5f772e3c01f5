// polluxctl capture: compiles the filter, asks the cores for copies of the frames that it takes,
// and writes them down as pcapng or as lines, until it has enough or is interrupted.
#include <errno.h>
#include <jansson.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/capture.h"
#include "common/plane.h"
#include "controlplane/cli/frame_text.h"
#include "controlplane/cli/pcapng.h"
#include "controlplane/cli/run.h"
#include "controlplane/cli/show.h"

#define WAIT_US 20000 // between two looks while nothing comes: 4 MiB last so long at 200 MB/s
#define SNAPLEN_WHOLE 262144u

struct capturing {
    struct ctl_client *client;
    const struct options *o;
    FILE *to; // pcapng; NULL: lines
    uint32_t snaplen;
    uint64_t shown, begin_us, delivered[PLANE_CORES_MAX];
    int interface[PLANE_CORES_MAX]; // of the file, by core; -1: none
    unsigned interfaces;
    struct resp_value *figures; // of the last READ
    bool running;
};

static uint64_t wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

// --- the filter ----------------------------------------------------------------------------------

// False after a complaint. `program` is pcap_freecode's.
static bool filter_compile(const char *text, struct bpf_program *program)
{
    *program = (struct bpf_program){0};
    if (!text || !text[strspn(text, " \t\n")])
        return true;
    pcap_t *p = pcap_open_dead(DLT_EN10MB, SNAPLEN_WHOLE);
    if (!p) {
        complain("no memory for the filter");
        return false;
    }
    bool good = pcap_compile(p, program, text, 1, PCAP_NETMASK_UNKNOWN) == 0;
    if (!good)
        complain_of("--filter: %s (the language is that of tcpdump: man 7 pcap-filter)",
                    pcap_geterr(p));
    pcap_close(p);
    if (good && program->bf_len > CAPTURE_FILTER_MAX) {
        complain_of("--filter: it becomes %u instructions, at most %u may run: make it simpler",
                    program->bf_len, CAPTURE_FILTER_MAX);
        pcap_freecode(program);
        return false;
    }
    return good;
}

// --- one frame -----------------------------------------------------------------------------------

static void line_show(const struct capture_frame *h, const struct frame_facts *f)
{
    char text[FRAME_TEXT_MAX], clock[16];
    time_t seconds = (time_t)(h->time_us / 1000000);
    struct tm local;
    localtime_r(&seconds, &local);
    strftime(clock, sizeof(clock), "%H:%M:%S", &local);
    printf("%s.%06u %-3s core %u  %s\n", clock, (unsigned)(h->time_us % 1000000),
           h->flags & CAPTURE_OUT ? "out" : "in", h->core, frame_text(f, text));
}

static void json_show(const struct capture_frame *h, const struct frame_facts *f)
{
    char flags[12];
    json_t *j =
        json_pack("{s:f, s:s, s:i, s:I, s:I, s:s, s:s, s:s}", "time", (double)h->time_us / 1e6,
                  "direction", h->flags & CAPTURE_OUT ? "out" : "in", "core", (int)h->core,
                  "length", (json_int_t)h->len, "captured", (json_int_t)h->captured, "protocol",
                  f->protocol, "source", f->source, "destination", f->destination);
    if (f->vlan)
        json_object_set_new(j, "vlan", json_integer(f->vlan));
    if (f->has_ports) {
        json_object_set_new(j, "source_port", json_integer(f->source_port));
        json_object_set_new(j, "destination_port", json_integer(f->destination_port));
        json_object_set_new(j, "payload", json_integer(f->payload));
    }
    if (f->is_tcp) {
        json_object_set_new(j, "flags", json_string(frame_flags(f->flags, flags)));
        json_object_set_new(j, "seq", json_integer(f->seq));
        json_object_set_new(j, "ack", json_integer(f->ack));
        json_object_set_new(j, "window", json_integer(f->window));
    }
    if (*f->detail)
        json_object_set_new(j, "detail", json_string(f->detail + strspn(f->detail, ", ")));
    json_dumpf(j, stdout, JSON_COMPACT | JSON_REAL_PRECISION(16));
    putchar('\n');
    json_decref(j);
}

// False when it cannot be written.
static bool frame_take(struct capturing *k, const struct capture_frame *h, const uint8_t *bytes)
{
    unsigned core = h->core < PLANE_CORES_MAX ? h->core : 0;
    k->shown++;
    k->delivered[core]++;
    if (k->to)
        return k->interface[core] < 0 ||
               pcapng_frame(k->to, (uint32_t)k->interface[core], h->time_us, h->flags & CAPTURE_OUT,
                            bytes, h->captured, h->len);
    struct frame_facts f;
    frame_facts(&f, bytes, h->captured, h->len);
    if (k->o->json)
        json_show(h, &f);
    else
        line_show(h, &f);
    return !ferror(stdout);
}

// The frames of one reply. DONE, or FAILED after a complaint.
static int frames_take(struct capturing *k, const struct resp_value *frames)
{
    const uint8_t *p = (const uint8_t *)frames->text;
    size_t left = frames->len;
    while (left && (!k->o->count || k->shown < k->o->count)) {
        struct capture_frame h;
        if (left < sizeof(h))
            return complain("the server sent half a frame");
        memcpy(&h, p, sizeof(h));
        if (h.size < sizeof(h) || h.size > left || h.captured > h.size - sizeof(h))
            return complain("the server sent what is no frame");
        if (!frame_take(k, &h, p + sizeof(h)))
            return complain_of("cannot write: %s", strerror(errno));
        p += h.size;
        left -= h.size;
    }
    return DONE;
}

// --- the whole -----------------------------------------------------------------------------------

static int begin_file(struct capturing *k, const struct resp_value *v)
{
    const struct resp_value *cores = resp_member(v, "cores");
    if (!pcapng_begin(k->to, "polluxctl " POLLUX_VERSION))
        return complain_of("cannot write: %s", strerror(errno));
    for (size_t i = 0; cores && i < cores->n; i++) {
        const struct resp_value *c = &cores->items[i], *mac = resp_member(c, "mac");
        int64_t core = resp_member_integer(c, "core");
        if (core < 0 || core >= PLANE_CORES_MAX || !resp_member_integer(c, "running"))
            continue;
        struct pcapng_interface interface = {
            .name = resp_member_string(c, "name"),
            .description = "Pollux, transport dpdk",
            .filter = k->o->filter,
            .mac = mac && mac->len == 6 ? (const uint8_t *)mac->text : NULL,
            .snaplen = k->snaplen};
        if (!pcapng_interface(k->to, &interface))
            return complain_of("cannot write: %s", strerror(errno));
        k->interface[core] = (int)k->interfaces++;
    }
    // Whoever reads along sees at once that there is something.
    return fflush(k->to) ? complain_of("cannot write: %s", strerror(errno)) : DONE;
}

static int begin(struct capturing *k, const struct bpf_program *program)
{
    char core[24], snaplen[24];
    snprintf(snaplen, sizeof(snaplen), "%u", k->snaplen);
    snprintf(core, sizeof(core), "%lld", (long long)k->o->core);
    const char *argv[] = {"CAPTURE", "START", snaplen, k->o->core < 0 ? "*" : core,
                          program->bf_insns ? (const char *)program->bf_insns : ""};
    const size_t lens[] = {7, 5, strlen(snaplen), strlen(argv[3]),
                           program->bf_len * sizeof(struct bpf_insn)};
    struct resp_value *v = ask_bytes(k->client, 5, argv, lens, ANSWER_S);
    if (!v)
        return FAILED;
    // Not before: what the server refuses leaves a file of that name as it was.
    int status = DONE;
    if (k->o->file)
        k->to = strcmp(k->o->file, "-") == 0 ? stdout : fopen(k->o->file, "we");
    if (k->o->file && !k->to)
        status = complain_of("cannot write %s: %s", k->o->file, strerror(errno));
    else if (k->to)
        status = begin_file(k, v);
    resp_value_free(v);
    return status;
}

// One READ. `any`: there were frames.
static int look(struct capturing *k, bool *any)
{
    static const char *const argv[] = {"CAPTURE", "READ"};
    struct resp_value *v = ask(k->client, 2, argv, ANSWER_S);
    const struct resp_value *frames = resp_member(v, "frames");
    if (!frames || !frames->text) {
        resp_value_free(v);
        return FAILED;
    }
    int status = frames_take(k, frames);
    *any = frames->len > 0;
    k->running = resp_member_integer(v, "running");
    resp_value_free(k->figures);
    k->figures = v;
    return status;
}

static bool enough(const struct capturing *k)
{
    return interrupted || (k->o->count && k->shown >= k->o->count) ||
           (k->o->seconds > 0 && (double)(wall_us() - k->begin_us) >= k->o->seconds * 1e6);
}

static int run_until_enough(struct capturing *k)
{
    int status = DONE;
    bool any = false;
    k->running = true;
    while (status == DONE && !enough(k) && (k->running || any)) {
        status = look(k, &any);
        if (!k->to && fflush(stdout))
            status = FAILED;
        if (status == DONE && !any && k->running)
            usleep(WAIT_US);
    }
    bool lost = status == DONE && !k->running && !enough(k);
    static const char *const stop[] = {"CAPTURE", "STOP"};
    if (status == DONE) {
        resp_value_free(ask(k->client, 2, stop, ANSWER_S));
        do // what the cores had copied by then
            status = look(k, &any);
        while (status == DONE && any && (!k->o->count || k->shown < k->o->count));
    }
    if (lost)
        status = complain("the capture has ended: the data plane has gone or took too long");
    return status;
}

static uint64_t figure(const struct capturing *k, int64_t core, const char *name)
{
    const struct resp_value *cores = resp_member(k->figures, "cores");
    uint64_t sum = 0;
    for (size_t i = 0; cores && i < cores->n; i++)
        if (core < 0 || resp_member_integer(&cores->items[i], "core") == core)
            sum += (uint64_t)resp_member_integer(&cores->items[i], name);
    return sum;
}

static int finish(struct capturing *k)
{
    for (unsigned core = 0; k->to && core < PLANE_CORES_MAX; core++) {
        if (k->interface[core] < 0)
            continue;
        struct pcapng_statistics s = {.begin_us = k->begin_us,
                                      .end_us = wall_us(),
                                      .received = figure(k, core, "seen"),
                                      .accepted =
                                          figure(k, core, "captured") + figure(k, core, "dropped"),
                                      .dropped = figure(k, core, "dropped"),
                                      .delivered = k->delivered[core]};
        if (!pcapng_end(k->to, (uint32_t)k->interface[core], &s))
            return complain_of("cannot write: %s", strerror(errno));
    }
    if (k->to && fflush(k->to))
        return complain_of("cannot write: %s", strerror(errno));
    fprintf(stderr,
            "%llu frames captured, %llu looked at, %llu dropped because this end was behind\n",
            (unsigned long long)k->shown, (unsigned long long)figure(k, -1, "seen"),
            (unsigned long long)figure(k, -1, "dropped"));
    return DONE;
}

int run_capture(struct ctl_client *c, const struct options *o)
{
    struct bpf_program program;
    struct capturing k = {.client = c,
                          .o = o,
                          .snaplen = o->snaplen ? (uint32_t)o->snaplen : SNAPLEN_WHOLE,
                          .begin_us = wall_us()};
    memset(k.interface, -1, sizeof(k.interface));
    if (o->argc > 1) {
        complain_of("capture takes no '%s': a filter is given with --filter '…'", o->argv[1]);
        return USAGE;
    }
    bool to_stdout = o->file && strcmp(o->file, "-") == 0;
    if (to_stdout && isatty(STDOUT_FILENO)) {
        complain("-w - writes pcapng, which no terminal shows: redirect it, or leave out -w");
        return USAGE;
    }
    if (!filter_compile(o->filter, &program))
        return USAGE;
    interrupt_catch();
    int status = begin(&k, &program);
    pcap_freecode(&program);
    if (status == DONE) {
        status = run_until_enough(&k);
        // What there is of a file is worth its end.
        int written = k.figures ? finish(&k) : DONE;
        status = status == DONE ? written : status;
    }
    if (k.to && !to_stdout && fclose(k.to) && status == DONE)
        status = complain_of("cannot write %s: %s", o->file, strerror(errno));
    resp_value_free(k.figures);
    return status;
}
