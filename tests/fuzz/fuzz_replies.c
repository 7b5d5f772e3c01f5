// Replies that no server sends, at the load generator's reply scanner. The input chooses the
// request, the protocol and where the bytes are cut, and is the reply. The scanner may not read
// beyond a piece, may not take more than there is, must come to an end, and must say the same of a
// reply however it is cut. What it shows to people is one line.
//
// Built with -Dfuzz=true it is a libFuzzer target; otherwise `fuzz_replies ROUNDS [SEED]` makes its
// own inputs: replies that are well formed, and what becomes of them with some bytes changed.
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/protocol.h"

enum { VARIANTS = 8, REPLIES_MAX = 200 };

static struct protocol *variants;

static void setup(void)
{
    static const char *const sizes[VARIANTS / 2] = {"20", "64", "0-90", "3:1,100:1"};
    variants = calloc(VARIANTS, sizeof(*variants));
    assert(variants);
    for (unsigned i = 0; i < VARIANTS; i++) {
        struct preset test = {.n = 2,
                              .commands = {{.kind = COMMAND_ANY, .line = "X {key}", .weight = 1},
                                           {.kind = COMMAND_ANY, .line = "X ; Y", .weight = 1}}};
        const struct options o = {.threads = 1,
                                  .keys = 10,
                                  .verify = i % 2,
                                  .protocol = i / 2 == 3 ? BENCH_MEMCACHE : BENCH_RESP};
        char error[256];
        bool good = values_parse(&test.data, sizes[i / 2], strlen(sizes[i / 2])) &&
                    protocol_init(&variants[i], &test, &o, 0, error, sizeof(error));
        assert(good);
    }
}

struct outcome {
    unsigned n;
    bool broken;
    struct {
        enum reply_kind kind;
        size_t end;
        char text[PROTOCOL_LINE_MAX];
    } replies[REPLIES_MAX];
};

// Reads all replies, in pieces whose lengths repeat after `n_cuts`; 0: at once.
static void read_all(const struct protocol *p, struct request r, const uint8_t *data, size_t len,
                     const uint8_t *cuts, size_t n_cuts, struct outcome *out)
{
    struct scanner s = {0};
    size_t at = 0;
    out->n = 0;
    out->broken = false;
    for (size_t i = 0; at < len && !out->broken; i++) {
        size_t n = n_cuts ? 1 + (size_t)(cuts[i % n_cuts] % 40) : len - at;
        n = n < len - at ? n : len - at;
        uint8_t *piece = malloc(n); // of just its size, so that a step too far shows
        assert(piece);
        memcpy(piece, data + at, n);
        for (size_t done = 0; done < n && !out->broken && out->n < REPLIES_MAX;) {
            size_t used = 0;
            enum reply_kind kind = protocol_scan(p, &s, r, piece + done, n - done, &used);
            assert(used <= n - done && (used > 0 || kind == REPLY_BROKEN));
            done += used;
            at += used;
            if (kind == REPLY_MORE) {
                assert(done == n);
                break;
            }
            assert(kind == REPLY_OK || kind == REPLY_MISS || kind == REPLY_ERROR ||
                   kind == REPLY_WRONG || kind == REPLY_BROKEN);
            out->replies[out->n].kind = kind;
            out->replies[out->n].end = kind == REPLY_BROKEN ? 0 : at;
            out->replies[out->n].text[0] = 0;
            if (kind == REPLY_ERROR || kind == REPLY_WRONG) {
                char *text = out->replies[out->n].text;
                protocol_explain(p, &s, r, text, PROTOCOL_LINE_MAX);
                for (; *text; text++)
                    assert((uint8_t)*text >= ' ');
            }
            out->n++;
            out->broken = kind == REPLY_BROKEN;
        }
        free(piece);
        if (out->n == REPLIES_MAX)
            break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { CUTS = 6, HEAD = CUTS + 1 };
    static const enum preset_kind kinds[] = {COMMAND_SET, COMMAND_GET, COMMAND_PING, COMMAND_ANY,
                                             COMMAND_OTHER};
    static struct outcome whole, cut;
    if (!variants)
        setup();
    if (size <= HEAD)
        return 0;
    const struct protocol *p = &variants[data[0] % VARIANTS];
    struct request r = {.key = 3, .op = kinds[data[0] / 8 % 5], .command = data[0] / 40 % 2};
    read_all(p, r, data + HEAD, size - HEAD, NULL, 0, &whole);
    read_all(p, r, data + HEAD, size - HEAD, data + 1, CUTS, &cut);
    assert(whole.n == cut.n && whole.broken == cut.broken);
    for (unsigned i = 0; i < whole.n; i++) {
        assert(whole.replies[i].kind == cut.replies[i].kind);
        assert(whole.replies[i].end == cut.replies[i].end);
        // How much of what came is shown depends on the cuts.
        const char *a = whole.replies[i].text, *got = strstr(a, ": expected \"");
        size_t same = got ? (size_t)(got - a) : PROTOCOL_LINE_MAX;
        assert(strncmp(a, cut.replies[i].text, same) == 0);
    }
    return 0;
}

#ifndef FUZZ_LIBFUZZER
#define INPUT_MAX 4000

static uint64_t state;

static uint32_t below(uint32_t n)
{
    return (uint32_t)random_below(random_next(&state), n);
}

struct text {
    char bytes[INPUT_MAX];
    size_t len;
};

static void put(struct text *t, const char *format, unsigned long long n)
{
    int len = snprintf(t->bytes + t->len, sizeof(t->bytes) - t->len, format, n);
    t->len += (size_t)len < sizeof(t->bytes) - t->len ? (size_t)len : 0;
}

static void put_value(struct text *t, const char *header, uint32_t size)
{
    put(t, header, size);
    if (t->len + size + 8 > sizeof(t->bytes))
        return;
    value_write((uint8_t *)t->bytes + t->len, 0, size, 3, below(5), size);
    t->len += size;
    put(t, "\r\n", 0);
}

// A reply of any type, of at most `depth` aggregates inside each other.
static void put_reply(struct text *t, unsigned depth)
{
    static const char *const lines[] = {"+OK\r\n",           "+PONG\r\n", "-ERR bad\r\n", ":12\r\n",
                                        "$-1\r\n",           "*-1\r\n",   "_\r\n",        "#t\r\n",
                                        ",1.5\r\n",          "(123\r\n",  "STORED\r\n",   "END\r\n",
                                        "SERVER_ERROR x\r\n"};
    static const char *const aggregates[] = {"*%llu\r\n", "~%llu\r\n", "%%%llu\r\n", ">%llu\r\n",
                                             "|%llu\r\n"};
    static const uint32_t sizes[] = {20, 64, 0, 3, 100, 41};
    uint32_t choice = below(depth ? 12 : 8);
    if (choice < 4) {
        put(t, lines[below(13)], 0);
    } else if (choice < 6) {
        put_value(t, "$%llu\r\n", sizes[below(6)]);
    } else if (choice == 6) {
        put_value(t, "VALUE key:000000000003 0 %llu\r\n", sizes[below(6)]);
        put(t, "END\r\n", 0);
    } else if (choice == 7) {
        put_value(t, below(2) ? "!%llu\r\n" : "=%llu\r\n", sizes[below(6)]);
    } else {
        uint32_t n = below(4), kind = below(5);
        put(t, aggregates[kind], n);
        for (uint32_t i = kind == 2 || kind == 4 ? 2 * n : n; i; i--)
            put_reply(t, depth - 1);
    }
}

static void damage(struct text *t)
{
    for (uint32_t n = below(3); n && t->len > 8; n--) {
        size_t at = 7 + below((uint32_t)t->len - 7);
        switch (below(3)) {
        case 0:
            t->bytes[at] = (char)below(256);
            break;
        case 1:
            t->bytes[at] = "\r\n$*:+-0123%>|~"[below(15)];
            break;
        default:
            memmove(t->bytes + at, t->bytes + at + 1, t->len - at - 1);
            t->len--;
        }
    }
}

int main(int argc, char **argv)
{
    uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    static struct text t;
    for (uint64_t i = 0; i < rounds; i++, seed++) {
        state = seed;
        t.len = 0;
        while (t.len < 7)
            t.bytes[t.len++] = (char)below(256);
        for (uint32_t n = 1 + below(6); n && t.len < INPUT_MAX / 2; n--)
            put_reply(&t, 3);
        damage(&t);
        if (argc > 3) {
            printf("seed %llu\n", (unsigned long long)seed);
            fflush(stdout);
        }
        LLVMFuzzerTestOneInput((uint8_t *)t.bytes, t.len);
    }
    for (unsigned i = 0; i < VARIANTS; i++)
        protocol_free(&variants[i]);
    free(variants);
    printf("%llu inputs\n", (unsigned long long)rounds);
    return 0;
}
#endif
