// TCP options as they come: the parser must stay inside, and say what a second, plainer reading of
// the same bytes says. The input is the options of one segment, at most 40 bytes of them.
//
// Built with -Dfuzz=true it is a libFuzzer target; otherwise `fuzz_options ROUNDS [SEED]` makes its
// own inputs.
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/tcp.h"
#include "tests/sim/wire.h"

enum { OPTIONS_BYTES = 40, SCALE_LARGEST = 14 };

// What the options are by RFC 9293 3.1, 7323 2 and 3, 2018 2 and 3. False: malformed.
static bool read_plainly(const uint8_t *p, size_t n, struct tcp_segment *s)
{
    for (size_t i = 0; i < n && p[i] != 0;) {
        if (p[i] == 1) {
            i++;
            continue;
        }
        if (i + 1 == n || p[i + 1] < 2 || i + p[i + 1] > n)
            return false;
        unsigned kind = p[i], len = p[i + 1];
        const uint8_t *v = p + i + 2;
        if ((kind == 2 && len != 4) || (kind == 3 && len != 3) || (kind == 4 && len != 2) ||
            (kind == 8 && len != 10) || (kind == 5 && (len < 10 || len % 8 != 2)))
            return false;
        if (kind == 2) {
            s->has_mss = true;
            s->mss = (uint16_t)(v[0] << 8 | v[1]);
        } else if (kind == 3) {
            s->has_scale = true;
            s->scale = v[0] < SCALE_LARGEST ? v[0] : SCALE_LARGEST;
        } else if (kind == 4) {
            s->has_sack = true;
        } else if (kind == 5) {
            s->n_sack = (uint8_t)(len / 8);
            s->sack = v;
        } else if (kind == 8) {
            s->has_stamp = true;
            s->ts_value = load_be32(v);
            s->ts_echo = load_be32(v + 4);
        }
        i += len;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > OPTIONS_BYTES)
        size = OPTIONS_BYTES;
    size -= size % 4; // as a header has them
    uint8_t *p = calloc(1, size ? size : 1);
    assert(p);
    if (size)
        memcpy(p, data, size);
    struct tcp_segment a = {0}, b = {0};
    bool good = tcp_options_parse(p, (uint32_t)size, &a);
    if (good != read_plainly(p, size, &b))
        abort();
    if (good && (a.has_mss != b.has_mss || a.mss != b.mss || a.has_scale != b.has_scale ||
                 a.scale != b.scale || a.has_sack != b.has_sack || a.has_stamp != b.has_stamp ||
                 a.ts_value != b.ts_value || a.ts_echo != b.ts_echo || a.n_sack != b.n_sack ||
                 a.sack != b.sack))
        abort();
    free(p);
    return 0;
}

#ifndef FUZZ_LIBFUZZER
int main(int argc, char **argv)
{
    uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    static const uint8_t kinds[8] = {0, 1, 2, 3, 4, 5, 8, 253};
    static const uint8_t lengths[8] = {2, 3, 4, 10, 10, 18, 26, 0};
    uint8_t input[OPTIONS_BYTES];
    struct wire_rng rng;
    wire_seed(&rng, seed);
    for (uint64_t i = 0; i < rounds; i++) {
        size_t size = wire_random(&rng) % (sizeof(input) + 1);
        for (size_t k = 0; k < size; k++) {
            uint64_t r = wire_random(&rng) >> 20;
            input[k] = r & 0x300 ? r & 0x400 ? kinds[r % 8] : lengths[r % 8] : (uint8_t)r;
        }
        LLVMFuzzerTestOneInput(input, size);
    }
    printf("%llu inputs\n", (unsigned long long)rounds);
    return 0;
}
#endif
