// Requests: what their bytes are. Replies are in replies.c.
#include "bench/protocol.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/slot.h"

static const char ping[] = "*1\r\n$4\r\nPING\r\n";
static const char version[] = "version\r\n"; // memcached's harmless question

#define HEAD_MAX 64 // of a SET before its value

static const char set_resp[] = "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000000\r\n$";
static const char set_memcache[] = "set key:000000000000 0 0 ";
static const char get_resp[] = "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000000\r\n";
static const char get_memcache[] = "get key:000000000000\r\n";

// Where the key stands, in SET and in GET.
#define KEY_RESP 18
#define KEY_MEMCACHE 4

// What stands before the value of a SET: HEAD_MAX bytes may be written. Returns its length.
static size_t write_set_head(const struct protocol *p, uint8_t *to, uint64_t key, uint32_t size)
{
    const char *image = p->memcache ? set_memcache : set_resp;
    size_t len = p->memcache ? sizeof(set_memcache) - 1 : sizeof(set_resp) - 1;
    memcpy(to, image, len);
    protocol_write_key(to + (p->memcache ? KEY_MEMCACHE : KEY_RESP), key);
    len += template_number(to + len, size);
    memcpy(to + len, "\r\n", 2);
    return len + 2;
}

static bool make_image(struct protocol_image *image, const void *head, size_t head_len,
                       uint32_t value, const char *tail, uint32_t key)
{
    size_t size = head_len + value + strlen(tail);
    size_t padded = (size + PROTOCOL_COPY - 1) / PROTOCOL_COPY * PROTOCOL_COPY;
    uint8_t *bytes = aligned_alloc(PROTOCOL_COPY, padded);
    if (!bytes)
        return false;
    memset(bytes, 0, padded);
    memcpy(bytes, head, head_len);
    for (uint32_t i = 0; i < value; i++)
        bytes[head_len + i] = (uint8_t)('a' + i % 26);
    memcpy(bytes + head_len + value, tail, strlen(tail));
    *image = (struct protocol_image){
        .bytes = bytes, .padded = (uint32_t)padded, .size = (uint32_t)size, .key = key};
    return true;
}

static bool make_images(struct protocol *p)
{
    uint8_t head[HEAD_MAX];
    uint32_t key = p->memcache ? KEY_MEMCACHE : KEY_RESP;
    const char *get = p->memcache ? get_memcache : get_resp;
    if (!make_image(&p->get, get, strlen(get), 0, "", key))
        return false;
    size_t len = write_set_head(p, head, 0, p->values.low);
    p->plain = p->values.fixed && !p->verify && len + p->values.low + 2 <= OUT_CONTIGUOUS_MAX;
    return !p->plain || make_image(&p->set, head, len, p->values.low, "\r\n", key);
}

// What the usual replies look like, so that they can be told at once.
static void expect(struct protocol *p)
{
    char hit[32];
    p->ok_size = p->hit_min = UINT32_MAX;
    if (p->memcache)
        return;
    memcpy(&p->ok, "+OK\r", 4);
    p->ok_size = 5;
    p->hit_size = (uint32_t)snprintf(hit, sizeof(hit), "$%u\r\n", p->values.low);
    if (!p->values.fixed || p->verify || p->hit_size > sizeof(p->hit))
        return;
    memset(&p->hit_mask, 0xff, p->hit_size);
    memcpy(&p->hit, hit, p->hit_size);
    p->hit_all = p->hit_size + p->values.low + 2;
    p->hit_min = p->hit_all > sizeof(p->hit) ? p->hit_all : (uint32_t)sizeof(p->hit);
}

bool protocol_init(struct protocol *p, const struct preset *test, const struct options *o,
                   unsigned thread, char *error, size_t error_size)
{
    *p = (struct protocol){
        .memcache = o->protocol == BENCH_MEMCACHE,
        .verify = o->verify,
        .state = random_seed(o->seed, UINT64_C(0x7661) + thread),
        .stamp = thread << 24, // which thread's a value is shows in the stamp
    };
    struct template_context context = {
        .data = &test->data,
        .keys = test->keys ? test->keys : o->keys,
        .seed = o->seed,
        .expire_s = o->expire_s,
        .verify = o->verify,
        .thread = thread,
        .threads = o->threads,
    };
    values_init(&p->values, &test->data);
    expect(p);
    if (!make_images(p)) {
        protocol_free(p);
        snprintf(error, error_size, "out of memory");
        return false;
    }
    for (; p->n_commands < test->n; p->n_commands++) {
        context.seed = o->seed + p->n_commands;
        if (test->commands[p->n_commands].kind == COMMAND_ANY &&
            !template_parse(&p->commands[p->n_commands], test->commands[p->n_commands].line,
                            &context, error, error_size)) {
            protocol_free(p);
            return false;
        }
    }
    return true;
}

void protocol_free(struct protocol *p)
{
    free(p->set.bytes);
    free(p->get.bytes);
    p->set.bytes = p->get.bytes = NULL;
    for (unsigned i = 0; i < p->n_commands; i++)
        template_free(&p->commands[i]);
    p->n_commands = 0;
}

static void write_set(struct protocol *p, struct out *out, uint64_t key)
{
    uint32_t size = p->values.low;
    if (!p->values.fixed)
        size = values_size(&p->values, random_next(&p->state));
    uint8_t *to = out_room(out, HEAD_MAX);
    size_t len = write_set_head(p, to, key, size);
    out->pos += len;
    template_write_data(out, key, p->stamp++, size, p->verify);
    out_write(out, "\r\n", 2);
    p->written += len + size + 2;
}

void protocol_write_other(struct protocol *p, struct out *out, struct request r)
{
    const char *text = p->memcache ? version : ping;
    switch ((enum preset_kind)r.op) {
    case COMMAND_SET:
        write_set(p, out, r.key);
        break;
    case COMMAND_PING:
        out_write(out, text, strlen(text));
        p->written += strlen(text);
        break;
    case COMMAND_ANY:
        p->written += template_write(&p->commands[r.command], out, r.key);
        break;
    case COMMAND_GET:
    case COMMAND_OTHER:
        break;
    }
}

unsigned protocol_slot(const struct protocol *p, struct request r)
{
    uint8_t key[PROTOCOL_KEY_SIZE];
    if (r.op == COMMAND_ANY)
        return template_slot(&p->commands[r.command], r.key);
    if (r.op != COMMAND_SET && r.op != COMMAND_GET)
        return SLOTS;
    protocol_write_key(key, r.key);
    return crc16(key, sizeof(key)) % SLOTS;
}
