// Digests of values. See digest.h.
#include "dataplane/commands/digest.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/commands/hashes_value.h"
#include "dataplane/commands/lists_value.h"
#include "dataplane/commands/streams_value.h"
#include "dataplane/store/values/set.h"
#include "dataplane/store/values/sorted.h"

#define SCORE_TEXT_MAX 32

bool digester_begin(struct digester *d)
{
    *d = (struct digester){.kind = EVP_MD_fetch(NULL, "SHA1", NULL), .context = EVP_MD_CTX_new()};
    d->failed = !d->kind || !d->context;
    return !d->failed;
}

void digester_end(struct digester *d)
{
    EVP_MD_CTX_free(d->context);
    EVP_MD_free(d->kind);
}

static void hash(struct digester *d, uint8_t to[DIGEST_BYTES], const void *data, size_t len)
{
    if (d->failed || !EVP_DigestInit_ex(d->context, d->kind, NULL) ||
        !EVP_DigestUpdate(d->context, data, len) || !EVP_DigestFinal_ex(d->context, to, NULL))
        d->failed = true;
}

void digest_xor(struct digester *d, uint8_t digest[DIGEST_BYTES], const void *data, size_t len)
{
    uint8_t of_data[DIGEST_BYTES] = {0};
    hash(d, of_data, data, len);
    for (int i = 0; i < DIGEST_BYTES; i++)
        digest[i] ^= of_data[i];
}

void digest_mix(struct digester *d, uint8_t digest[DIGEST_BYTES], const void *data, size_t len)
{
    uint8_t both[DIGEST_BYTES];
    digest_xor(d, digest, data, len);
    memcpy(both, digest, DIGEST_BYTES);
    hash(d, digest, both, DIGEST_BYTES);
}

// --- by type -------------------------------------------------------------------------------------

static void mix_string(struct digester *d, uint8_t digest[DIGEST_BYTES], const struct entry *e)
{
    char scratch[24];
    struct string_view view = entry_string(e, scratch);
    digest_mix(d, digest, view.ptr, view.len);
}

static void mix_list(struct digester *d, uint8_t digest[DIGEST_BYTES], const struct entry *e)
{
    struct quicklist_iter it;
    if (quicklist_iter_begin(&it, entry_object(e), 0, false))
        do {
            char scratch[24];
            size_t len;
            const void *text = list_text(&it.item, scratch, &len);
            digest_mix(d, digest, text, len);
        } while (quicklist_iter_next(&it));
    d->failed |= it.failed;
    quicklist_iter_end(&it);
}

static void xor_set(struct digester *d, uint8_t digest[DIGEST_BYTES], const struct entry *e)
{
    struct set set = {.encoding = entry_encoding(e), .object = entry_object(e)};
    struct set_iterator it = set_begin(&set);
    for (struct set_item item; set_next(&it, &item);) {
        char scratch[24];
        size_t len;
        const uint8_t *text = set_item_text(&item, scratch, &len);
        digest_xor(d, digest, text, len);
    }
}

static void xor_pair(struct digester *d, uint8_t digest[DIGEST_BYTES], const void *a, size_t a_len,
                     const void *b, size_t b_len)
{
    uint8_t pair[DIGEST_BYTES] = {0};
    digest_mix(d, pair, a, a_len);
    digest_mix(d, pair, b, b_len);
    digest_xor(d, digest, pair, DIGEST_BYTES);
}

static void xor_zset(struct digester *d, uint8_t digest[DIGEST_BYTES], const struct entry *e)
{
    struct sorted z = {.encoding = entry_encoding(e), .object = entry_object(e)};
    struct sorted_at at = sorted_at_rank(&z, 0);
    for (bool there = at.there; there; there = sorted_next(&at)) {
        char scratch[24], score[SCORE_TEXT_MAX];
        struct sorted_item item = sorted_item(&at, scratch);
        int n = snprintf(score, sizeof(score), "%.17g", item.score);
        xor_pair(d, digest, item.ptr, item.len, score, (size_t)n);
    }
}

static void xor_hash(struct digester *d, uint8_t digest[DIGEST_BYTES], const struct entry *e,
                     int64_t now_ms)
{
    struct hash h = {.object = entry_object(e), .encoding = entry_encoding(e), .now_ms = now_ms};
    struct hash_iterator it = hash_begin(&h);
    while (hash_next(&it))
        xor_pair(d, digest, it.name, it.name_len, it.value.ptr, it.value.len);
}

static void mix_stream(struct digester *d, uint8_t digest[DIGEST_BYTES], const struct entry *e)
{
    static const struct stream_id first = {0, 0}, last = {UINT64_MAX, UINT64_MAX};
    struct stream_walk w;
    stream_walk_begin(&w, entry_object(e), first, last, false);
    while (stream_walk_next(&w)) {
        char text[STREAM_ID_TEXT_MAX];
        size_t n = stream_id_text(text, w.id);
        char *dash = memchr(text, '-', n);
        *dash = '.'; // as redis-server has it here
        digest_mix(d, digest, text, n);
        for (uint64_t left = w.n; left; left--) {
            const uint8_t *words[2];
            stream_walk_field(&w, &words[0], &words[1]);
            for (int i = 0; i < 2; i++) {
                char scratch[24];
                size_t len;
                const uint8_t *word = lp_text(words[i], scratch, &len);
                digest_mix(d, digest, word, len);
            }
        }
    }
}

void digest_entry(struct digester *d, uint8_t digest[DIGEST_BYTES], const struct entry *e,
                  int64_t now_ms)
{
    static const uint32_t types[] = {[OBJ_STRING] = 0, [OBJ_LIST] = 1, [OBJ_SET] = 2,
                                     [OBJ_ZSET] = 3,   [OBJ_HASH] = 4, [OBJ_STREAM] = 6};
    enum object_type type = entry_type(e);
    uint32_t number = htonl(types[type]);
    digest_mix(d, digest, &number, sizeof(number));
    switch (type) {
    case OBJ_STRING:
        mix_string(d, digest, e);
        break;
    case OBJ_LIST:
        mix_list(d, digest, e);
        break;
    case OBJ_SET:
        xor_set(d, digest, e);
        break;
    case OBJ_ZSET:
        xor_zset(d, digest, e);
        break;
    case OBJ_HASH:
        xor_hash(d, digest, e, now_ms);
        break;
    case OBJ_STREAM:
        mix_stream(d, digest, e);
        break;
    case OBJ_MODULE:
        break;
    }
    if (entry_has_expiry(e))
        digest_xor(d, digest, "!!expire!!", 10);
}
