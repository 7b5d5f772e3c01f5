// HyStart++ (RFC 9406): the first slow start doubles the window until something breaks. A rise of
// the round trip's delay tells earlier that a queue fills: then the window grows at a quarter of
// the pace, and if the delay does not fall again within a few rounds, slow start is over without a
// loss.
#include "dataplane/net/congestion.h"

enum { // RFC 9406 4.3
    RISE_MIN_US = 4000,
    RISE_MAX_US = 16000,
    RISE_DIVISOR = 8,
    SAMPLES_MIN = 8,
    CONSERVATIVE_DIVISOR = 4,
    CONSERVATIVE_ROUNDS = 5,
};

static void hystart_round(struct hystart *h, const struct tcp *c)
{
    h->last_min_us = h->current_min_us;
    h->current_min_us = UINT32_MAX;
    h->samples = 0;
    h->round_end = c->snd_nxt;
}

void hystart_init(struct hystart *h, const struct tcp *c)
{
    *h = (struct hystart){.current_min_us = UINT32_MAX, .baseline_us = UINT32_MAX};
    hystart_round(h, c);
}

static bool hystart_rose(const struct hystart *h)
{
    if (h->last_min_us == UINT32_MAX)
        return false;
    uint32_t rise = h->last_min_us / RISE_DIVISOR;
    rise = rise < RISE_MIN_US ? RISE_MIN_US : rise > RISE_MAX_US ? RISE_MAX_US : rise;
    return h->current_min_us >= h->last_min_us + rise;
}

uint32_t hystart_acked(struct hystart *h, struct tcp *c, const struct tcp_ack *ack)
{
    if (ack->rtt_us) {
        if (ack->rtt_us < h->current_min_us)
            h->current_min_us = ack->rtt_us;
        if (h->samples < SAMPLES_MIN)
            h->samples++;
    }
    if (h->samples >= SAMPLES_MIN) {
        if (!h->conservative && hystart_rose(h)) {
            h->conservative = true;
            h->baseline_us = h->current_min_us;
            h->rounds = 0;
        } else if (h->conservative && h->current_min_us < h->baseline_us) {
            h->conservative = false; // the rise was passing
            h->baseline_us = UINT32_MAX;
        }
    }
    if (seq_le(h->round_end, c->snd_una)) {
        if (h->conservative && ++h->rounds >= CONSERVATIVE_ROUNDS)
            c->ssthresh = c->cwnd;
        hystart_round(h, c);
    }
    return h->conservative ? ack->acked / CONSERVATIVE_DIVISOR : ack->acked;
}
