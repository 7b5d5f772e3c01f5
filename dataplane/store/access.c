// When and how often an entry was used: 24 bits of it. Under LRU a clock in seconds (it wraps after
// 194 days, and idle times are told modulo that). Under LFU a clock in minutes, 16 bits, and a
// counter of 8 bits that grows with the logarithm of accesses and falls with time.
#include "dataplane/store/internal.h"

enum { ACCESS_MASK = 0xffffff, MINUTES_MASK = 0xffff, COUNTER_MAX = 255 };

uint32_t access_initial(const struct store *s)
{
    return s->lfu ? s->minutes << 8 | LFU_INITIAL : s->access;
}

static unsigned counter_decayed(const struct store *s, uint32_t access)
{
    unsigned counter = access & 0xff;
    if (!s->options.lfu_decay_time)
        return counter;
    uint32_t elapsed = (s->minutes - (access >> 8)) & MINUTES_MASK;
    uint32_t periods = elapsed / s->options.lfu_decay_time;
    return periods < counter ? counter - periods : 0;
}

static unsigned counter_raised(struct store *s, unsigned counter)
{
    if (counter == COUNTER_MAX)
        return counter;
    uint64_t above = counter > LFU_INITIAL ? counter - LFU_INITIAL : 0;
    uint64_t one_in = above * s->options.lfu_log_factor + 1;
    return counter + (store_random_below(s, one_in) == 0);
}

void access_touch(struct store *s, struct entry *e)
{
    uint32_t access = s->access;
    if (s->lfu)
        access = s->minutes << 8 | counter_raised(s, counter_decayed(s, head_access(e->head)));
    if (head_access(e->head) != access) // most are touched again within the unit: no dirty line
        entry_put_access(e, access);
}

uint64_t entry_idle_ms(const struct store *s, const struct entry *e)
{
    uint32_t access = head_access(e->head);
    if (s->lfu)
        return (uint64_t)((s->minutes - (access >> 8)) & MINUTES_MASK) * 60000;
    return (uint64_t)((s->access - access) & ACCESS_MASK) * 1000;
}

unsigned entry_frequency(const struct store *s, const struct entry *e)
{
    return counter_decayed(s, head_access(e->head));
}

void entry_set_access(struct store *s, struct entry *e, int64_t idle_ms, int frequency)
{
    uint32_t access = head_access(e->head);
    if (s->lfu) {
        if (frequency >= 0)
            access = s->minutes << 8 | (unsigned)(frequency < 255 ? frequency : 255);
    } else if (idle_ms >= 0) {
        access =
            (s->access - (uint32_t)(idle_ms / 1000 < ACCESS_MASK ? idle_ms / 1000 : ACCESS_MASK)) &
            ACCESS_MASK;
    }
    entry_put_access(e, access);
}
