// Selective acknowledgements. As a receiver sends them: which ranges beyond a gap have arrived, the
// most recent first (RFC 2018 4), and what arrived twice (RFC 2883). What was told is never given
// up again. Blocks travel on bare acknowledgements, which leave at once for each segment that
// arrives out of order, so that a segment with data has nothing to add. And as a sender reads them:
// what makes no sense is not believed.
#include "dataplane/net/tcp_board.h"

enum { OPTION_SPACE = 40, OPTION_NOP = 1, OPTION_SACK = 5 };

// The range that holds `seq`, or NULL.
static const struct tcp_range *range_at(const struct tcp_ranges *r, uint32_t seq)
{
    uint32_t low = 0, high = r->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (seq_le(r->range[middle].end, seq))
            low = middle + 1;
        else
            high = middle;
    }
    return low < r->count && seq_le(r->range[low].start, seq) ? &r->range[low] : NULL;
}

void tcp_sack_note(struct tcp_ranges *r, uint32_t seq)
{
    const struct tcp_range *range = range_at(r, seq);
    if (!range)
        return; // it found no room, or touched what lies in order
    uint32_t keep[TCP_SACK_BLOCKS_MAX], n = 0;
    keep[n++] = seq;
    for (uint32_t i = 0; i < r->n_recent && n < TCP_SACK_BLOCKS_MAX; i++) {
        const struct tcp_range *other = range_at(r, r->recent[i]);
        if (other && other != range)
            keep[n++] = r->recent[i];
    }
    memcpy(r->recent, keep, n * sizeof(keep[0]));
    r->n_recent = (uint8_t)n;
}

void tcp_dsack_note(struct tcp *c, uint32_t start, uint32_t end)
{
    if (start == end || !(c->flags & TCP_SACK))
        return;
    if (c->dsack_start != c->dsack_end && c->dsack_end == start) {
        c->dsack_end = end;
    } else {
        c->dsack_start = start;
        c->dsack_end = end;
    }
}

uint32_t tcp_sack_write(struct tcp *c, uint8_t *p)
{
    uint32_t room = OPTION_SPACE - (c->flags & TCP_STAMPS ? TCP_STAMP_OPTION : 0u);
    uint32_t max = (room - 4) / 8, n = 0;
    uint8_t *block = p + 4;
    if (c->dsack_start != c->dsack_end) {
        store_be32(block, c->dsack_start);
        store_be32(block + 4, c->dsack_end);
        block += 8;
        n++;
        c->dsack_start = c->dsack_end = 0;
        c->net->counters.tcp_dsack_out++;
    }
    const struct tcp_ranges *r = c->ranges;
    uint64_t told = 0; // a bit for each of the ranges
    _Static_assert(TCP_RANGES_MAX <= 64, "a bit for each");
    for (uint32_t i = 0; r && n < max && i < r->n_recent + r->count; i++) {
        const struct tcp_range *range =
            i < r->n_recent ? range_at(r, r->recent[i]) : &r->range[i - r->n_recent];
        if (!range || told >> (range - r->range) & 1)
            continue;
        told |= 1ull << (range - r->range);
        store_be32(block, range->start);
        store_be32(block + 4, range->end + (r->has_fin && r->fin_seq == range->end));
        block += 8;
        n++;
    }
    if (!n)
        return 0;
    p[0] = p[1] = OPTION_NOP;
    p[2] = OPTION_SACK;
    p[3] = (uint8_t)(2 + 8 * n);
    c->net->counters.tcp_sack_out++;
    return (uint32_t)(block - p);
}

// --- the sender
// -----------------------------------------------------------------------------------

// A duplicate: below the acknowledgement, and not from a time out of mind.
static void dsack_read(struct tcp *c, uint32_t start, uint32_t end, struct tcp_news *news)
{
    struct tcp_board *b = c->board;
    uint32_t window = 4 * (c->max_wnd > 65535 ? c->max_wnd : 65535);
    if (seq_lt(c->snd_nxt, end) || seq_lt(end, c->snd_una - window) || end - start > window ||
        (seq_lt(start, c->snd_una) && c->snd_una - start > c->bytes_out)) {
        c->net->counters.tcp_sack_bad++;
        return;
    }
    c->net->counters.tcp_dsack_in++;
    c->dsacks++;
    news->dsack = true;
    if (b->probe_out && b->probe_resent && end == b->probe_end)
        news->dsack_of_probe = true;
    if (b->undo && seq_le(b->undo_from, start) && seq_le(end, c->recover))
        b->undo_duplicates += end - start;
}

void tcp_sack_read(struct tcp *c, const struct tcp_segment *seg, struct tcp_news *news)
{
    uint32_t block[TCP_SACK_BLOCKS_MAX][2], n = 0;
    for (unsigned i = 0; i < seg->n_sack; i++) {
        uint32_t start = load_be32(seg->sack + 8 * i), end = load_be32(seg->sack + 8 * i + 4);
        if (!seq_lt(start, end)) {
            c->net->counters.tcp_sack_bad++;
            continue;
        }
        if (i == 0) {
            bool below = seq_le(end, seg->ack), inside = false;
            if (!below && seg->n_sack > 1)
                inside = seq_le(load_be32(seg->sack + 8), start) &&
                         seq_le(end, load_be32(seg->sack + 12));
            if (below || inside) {
                dsack_read(c, start, end, news);
                continue;
            }
        }
        // An acknowledgement that was overtaken tells of what is acknowledged since.
        bool old = seq_lt(seg->ack, c->snd_una);
        if (old && seq_le(end, c->snd_una))
            continue;
        if (old && seq_lt(start, c->snd_una))
            start = c->snd_una;
        if (seq_le(start, seg->ack) || seq_lt(start, c->snd_una) || seq_lt(c->snd_nxt, end)) {
            c->net->counters.tcp_sack_bad++;
            continue;
        }
        // Ascending, so that what is new below others does not look reordered.
        uint32_t at = n++;
        for (; at && seq_lt(start, block[at - 1][0]); at--)
            memcpy(block[at], block[at - 1], sizeof(block[0]));
        block[at][0] = start;
        block[at][1] = end;
    }
    for (uint32_t i = 0; i < n; i++)
        tcp_board_sack(c, block[i][0], block[i][1], seg, news);
}
