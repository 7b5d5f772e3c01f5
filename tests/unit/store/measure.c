// Measures a store in a process, for people: resident memory per key, cycles per operation.
//
//   measure memory MILLIONS [expiry]
//   measure speed KEYS
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/arg.h"
#include "dataplane/store/store.h"

enum { KEY_LEN = 16, VALUE_LEN = 64, BATCH = 32 };
#define NOW_MS UINT64_C(1700000000000)

static struct keyspace *ks;
static struct store *s;

static uint64_t resident_bytes(void)
{
    unsigned long long total, resident;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%llu %llu", &total, &resident) != 2)
        abort();
    fclose(f);
    return resident * 4096;
}

static uint64_t nanoseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

// Without what other processes take.
static uint64_t cpu_nanoseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static double cycles_per_ns(void)
{
    uint64_t ns = nanoseconds(), cycles = __builtin_ia32_rdtsc();
    while (nanoseconds() - ns < 50000000)
        ;
    cycles = __builtin_ia32_rdtsc() - cycles;
    return (double)cycles / (double)(nanoseconds() - ns);
}

static void name(char *out, uint64_t i)
{
    // Digits spread by an odd multiplier: 16 bytes, all different.
    snprintf(out, KEY_LEN + 1, "%016" PRIx64, i * UINT64_C(0x9e3779b97f4a7c15));
}

static void fill(uint64_t from, uint64_t to, int64_t expiry_ms)
{
    char key_bytes[KEY_LEN + 1], value[VALUE_LEN];
    memset(value, 'v', sizeof(value));
    for (uint64_t i = from; i < to; i++) {
        name(key_bytes, i);
        struct key key = keyspace_key(ks, key_bytes, KEY_LEN);
        struct arg arg = {.ptr = (uint8_t *)value, .len = sizeof(value)};
        struct entry *at = store_find(s, 0, &key, LOOKUP_WRITE);
        if (!store_set_string(s, 0, &key, at, &arg, expiry_ms < 0 ? -1 : expiry_ms + (int64_t)i,
                              SET_INTEGER_TRY))
            abort();
        if (i % 64 == 0)
            store_maintain(s, 32);
    }
}

static void measure_memory(uint64_t millions, bool expiry)
{
    uint64_t empty = resident_bytes();
    uint64_t keys = 0;
    printf("empty %.1f MiB\n", (double)empty / (1 << 20));
    for (uint64_t step = 1; step <= millions; step++) {
        fill(keys, step * 1000000, expiry ? (int64_t)NOW_MS + 3600000 : -1);
        keys = step * 1000000;
        printf("%2" PRIu64 " million keys: %.1f resident bytes a key, %.1f counted\n", step,
               (double)(resident_bytes() - empty) / (double)keys,
               (double)keyspace_memory(ks) / (double)keys);
        fflush(stdout);
    }
}

static uint64_t random_state = 88172645463325252u;
static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

enum { STAGES = 5, CHUNKS = 100, CHUNK_BATCHES = 1250 };

static int by_total(const void *a, const void *b)
{
    uint64_t sums[2] = {0};
    for (unsigned i = 0; i < STAGES; i++) {
        sums[0] += ((const uint64_t *)a)[i];
        sums[1] += ((const uint64_t *)b)[i];
    }
    return (sums[0] > sums[1]) - (sums[0] < sums[1]);
}

// Batches as the loop makes them; hashing and slots are told apart from the store's own time. Of a
// hundred runs the tenth best is shown: others use this machine, too.
static void measure_speed(uint64_t keys)
{
    double rate = cycles_per_ns();
    uint64_t t = cpu_nanoseconds();
    fill(0, keys, -1);
    printf("insert: %.0f cycles with hash and slot\n",
           (double)(cpu_nanoseconds() - t) * rate / (double)keys);
    for (int write = 0; write < 2; write++) {
        static char names[BATCH][KEY_LEN + 1];
        static uint64_t chunks[CHUNKS][STAGES];
        memset(chunks, 0, sizeof(chunks));
        struct key batch[BATCH];
        uint64_t sum = 0;
        char value[VALUE_LEN] = {0};
        struct arg arg = {.ptr = (uint8_t *)value, .len = sizeof(value)};
        for (unsigned done = 0; done < CHUNKS * CHUNK_BATCHES; done++) {
            uint64_t at[STAGES + 1];
            static struct fetch fetch[BATCH];
            for (unsigned i = 0; i < BATCH; i++)
                name(names[i], random_next() % keys);
            at[0] = __builtin_ia32_rdtsc();
            for (unsigned i = 0; i < BATCH; i++)
                batch[i] = keyspace_key(ks, names[i], KEY_LEN);
            at[1] = __builtin_ia32_rdtsc();
            for (unsigned i = 0; i < BATCH; i++)
                store_prefetch_slot(s, 0, &batch[i]);
            at[2] = __builtin_ia32_rdtsc();
            for (unsigned i = 0; i < BATCH; i++)
                store_prefetch_bucket(s, 0, &batch[i], &fetch[i]);
            at[3] = __builtin_ia32_rdtsc();
            for (unsigned i = 0; i < BATCH; i++)
                store_prefetch_entry(&batch[i], &fetch[i]);
            at[4] = __builtin_ia32_rdtsc();
            for (unsigned i = 0; i < BATCH; i++) {
                struct entry *e = store_find(s, 0, &batch[i], write ? LOOKUP_WRITE : 0);
                if (write) {
                    if (!store_set_string(s, 0, &batch[i], e, &arg, -1, SET_INTEGER_TRY))
                        abort();
                } else {
                    char scratch[24];
                    struct string_view view = entry_string(e, scratch);
                    sum += view.ptr[view.len - 1];
                }
            }
            at[5] = __builtin_ia32_rdtsc();
            for (unsigned i = 0; i < STAGES; i++)
                chunks[done / CHUNK_BATCHES][i] += at[i + 1] - at[i];
        }
        qsort(chunks, CHUNKS, sizeof(chunks[0]), by_total);
        double c[STAGES];
        for (unsigned i = 0; i < STAGES; i++)
            c[i] = (double)chunks[CHUNKS / 10][i] / (BATCH * CHUNK_BATCHES);
        printf("%s: hash and slot %.0f, then %.0f + %.0f + %.0f prefetching + %.0f = %.0f cycles\n",
               write ? "set" : "get", c[0], c[1], c[2], c[3], c[4], c[1] + c[2] + c[3] + c[4]);
        if (sum == 1)
            puts("");
    }
    store_set_time(s, NOW_MS);
    for (uint64_t i = 0; i < keys; i++) {
        char key_bytes[KEY_LEN + 1];
        name(key_bytes, i);
        struct key key = keyspace_key(ks, key_bytes, KEY_LEN);
        struct entry *e = store_find(s, 0, &key, LOOKUP_WRITE);
        if (!store_set_expiry(s, 0, &key, e, (int64_t)NOW_MS + 1000 + (int64_t)(i % 1000)))
            abort();
    }
    store_set_time(s, NOW_MS + 10000);
    t = cpu_nanoseconds();
    unsigned turns = 0;
    uint64_t longest = 0;
    unsigned long_turns = 0;
    for (bool more = true; more; turns++) {
        uint64_t c = cpu_nanoseconds();
        more = store_maintain(s, 128);
        c = cpu_nanoseconds() - c;
        longest = c > longest ? c : longest;
        long_turns += c > 300000;
    }
    t = cpu_nanoseconds() - t;
    printf("expiry: %.2f million keys a second, %u turns, longest %" PRIu64
           " us, %u above 300 us, %" PRIu64 " left\n",
           (double)keys * 1e3 / (double)t, turns, longest / 1000, long_turns, keyspace_keys(ks, 0));
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: measure memory MILLIONS [expiry] | measure speed KEYS\n");
        return 2;
    }
    struct keyspace_config config = {
        .cores = 1, .databases = 16, .secret = "measuring", .epoch_ms = NOW_MS};
    ks = keyspace_create(&config);
    s = store_create(ks, 0, 1);
    if (!ks || !s)
        abort();
    uint64_t n = strtoull(argv[2], NULL, 10);
    if (!strcmp(argv[1], "memory"))
        measure_memory(n, argc > 3);
    else
        measure_speed(n);
    store_destroy(s);
    keyspace_destroy(ks);
    return 0;
}
