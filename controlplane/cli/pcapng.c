#include "controlplane/cli/pcapng.h"

#include <string.h>

enum {
    BLOCK_SECTION = 0x0a0d0d0a,
    BLOCK_INTERFACE = 1,
    BLOCK_STATISTICS = 5,
    BLOCK_FRAME = 6,
    MAGIC = 0x1a2b3c4d,
    LINKTYPE_ETHERNET = 1,
    OPTION_END = 0,
    SHB_OS = 3,
    SHB_USERAPPL = 4,
    IF_NAME = 2,
    IF_DESCRIPTION = 3,
    IF_MACADDR = 6,
    IF_TSRESOL = 9,
    IF_FILTER = 11,
    EPB_FLAGS = 2,
    ISB_STARTTIME = 2,
    ISB_ENDTIME = 3,
    ISB_IFRECV = 4,
    ISB_IFDROP = 5,
    ISB_FILTERACCEPT = 6,
    ISB_OSDROP = 7,
    ISB_USRDELIV = 8,
    INBOUND = 1,
    OUTBOUND = 2,
    TEXT_MAX = 4096, // of one option
    BLOCK_MAX = 4 * TEXT_MAX,
};

// A block without frame data, being put together. Everything is in the byte order of the machine,
// which the section's magic tells.
struct block {
    uint8_t bytes[BLOCK_MAX];
    uint32_t len;
};

static void put(struct block *b, const void *data, uint32_t n)
{
    if (n) // an option without a value has no data
        memcpy(b->bytes + b->len, data, n);
    b->len += n;
    while (b->len % 4)
        b->bytes[b->len++] = 0;
}

static void put32(struct block *b, uint32_t value)
{
    put(b, &value, 4);
}

static void option(struct block *b, uint16_t code, const void *data, size_t n)
{
    if (n > TEXT_MAX - 8)
        n = TEXT_MAX - 8; // a long filter: its beginning tells enough
    uint16_t head[2] = {code, (uint16_t)n};
    put(b, head, 4);
    put(b, data, (uint32_t)n);
}

static void option_text(struct block *b, uint16_t code, const char *text)
{
    if (text && *text)
        option(b, code, text, strlen(text));
}

static void option64(struct block *b, uint16_t code, uint64_t value)
{
    option(b, code, &value, 8);
}

// Times are two halves, the upper one first, whatever the byte order.
static void put_time(struct block *b, uint64_t time_us)
{
    put32(b, (uint32_t)(time_us >> 32));
    put32(b, (uint32_t)time_us);
}

static void option_time(struct block *b, uint16_t code, uint64_t time_us)
{
    uint32_t halves[2] = {(uint32_t)(time_us >> 32), (uint32_t)time_us};
    option(b, code, halves, 8);
}

static void begin(struct block *b, uint32_t type)
{
    b->len = 0;
    put32(b, type);
    put32(b, 0); // its length, known at the end
}

static bool finish(struct block *b, FILE *to)
{
    option(b, OPTION_END, NULL, 0);
    uint32_t len = b->len + 4;
    memcpy(b->bytes + 4, &len, 4);
    put32(b, len);
    return fwrite(b->bytes, 1, b->len, to) == b->len;
}

bool pcapng_begin(FILE *to, const char *application)
{
    struct block b;
    const uint16_t version[2] = {1, 0};
    const uint64_t unknown = UINT64_MAX; // the section's length
    begin(&b, BLOCK_SECTION);
    put32(&b, MAGIC);
    put(&b, version, 4);
    put(&b, &unknown, 8);
    option_text(&b, SHB_OS, "Linux");
    option_text(&b, SHB_USERAPPL, application);
    return finish(&b, to);
}

bool pcapng_interface(FILE *to, const struct pcapng_interface *i)
{
    struct block b;
    const uint16_t link[2] = {LINKTYPE_ETHERNET, 0};
    const uint8_t microseconds = 6;
    begin(&b, BLOCK_INTERFACE);
    put(&b, link, 4);
    put32(&b, i->snaplen);
    option_text(&b, IF_NAME, i->name);
    option_text(&b, IF_DESCRIPTION, i->description);
    if (i->mac)
        option(&b, IF_MACADDR, i->mac, 6);
    option(&b, IF_TSRESOL, &microseconds, 1);
    if (i->filter && *i->filter) {
        char text[TEXT_MAX];
        text[0] = 0; // a filter in words, not a program
        size_t n = strnlen(i->filter, sizeof(text) - 1);
        memcpy(text + 1, i->filter, n);
        option(&b, IF_FILTER, text, n + 1);
    }
    return finish(&b, to);
}

bool pcapng_frame(FILE *to, uint32_t interface, uint64_t time_us, bool outbound,
                  const uint8_t *bytes, uint32_t captured, uint32_t len)
{
    struct block b;
    const uint32_t padding = (4 - captured % 4) % 4, options = 4 + 4 + 4; // flags, end
    const uint32_t total = 28 + captured + padding + options + 4;
    begin(&b, BLOCK_FRAME);
    memcpy(b.bytes + 4, &total, 4);
    put32(&b, interface);
    put_time(&b, time_us);
    put32(&b, captured);
    put32(&b, len);
    if (fwrite(b.bytes, 1, b.len, to) != b.len || fwrite(bytes, 1, captured, to) != captured)
        return false;
    const uint32_t direction = outbound ? OUTBOUND : INBOUND;
    b.len = 0;
    static const uint8_t zero[4];
    if (padding && fwrite(zero, 1, padding, to) != padding)
        return false;
    option(&b, EPB_FLAGS, &direction, 4);
    option(&b, OPTION_END, NULL, 0);
    put32(&b, total);
    return fwrite(b.bytes, 1, b.len, to) == b.len;
}

bool pcapng_end(FILE *to, uint32_t interface, const struct pcapng_statistics *s)
{
    struct block b;
    begin(&b, BLOCK_STATISTICS);
    put32(&b, interface);
    put_time(&b, s->end_us);
    option_time(&b, ISB_STARTTIME, s->begin_us);
    option_time(&b, ISB_ENDTIME, s->end_us);
    option64(&b, ISB_IFRECV, s->received);
    option64(&b, ISB_IFDROP, 0);
    option64(&b, ISB_FILTERACCEPT, s->accepted);
    option64(&b, ISB_OSDROP, s->dropped);
    option64(&b, ISB_USRDELIV, s->delivered);
    return finish(&b, to);
}
