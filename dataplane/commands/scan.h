// What SCAN, HSCAN, SSCAN and ZSCAN share: cursors and options among the arguments, and the shape
// of the answer.
#pragma once

#include "common/outbuf.h"
#include "dataplane/commands/command.h"

#define ERR_CURSOR "ERR invalid cursor"

struct scan_pattern {
    const struct arg *arg; // NULL: matches everything
};
struct scan_pattern scan_pattern_of(const struct arg *arg);
bool scan_matches(const struct scan_pattern *p, const uint8_t *name, size_t len);

// A decimal number of 64 bits as C's strtoul reads it, since Redis does: a sign is allowed (and a
// negative number wraps round), a zero byte ends it, and the empty text is 0.
bool scan_parse_cursor(const struct arg *a, uint64_t *cursor);

enum scan_allowed {
    SCAN_TYPE = 1u << 0,     // TYPE name
    SCAN_NOVALUES = 1u << 1, // NOVALUES
};
struct scan_options {
    struct scan_pattern pattern;
    const struct arg *type; // NULL: any
    int64_t count;
    bool no_values;
};
// The arguments from `first` on; COUNT and MATCH are always allowed. Answers when it returns false.
bool scan_parse_options(struct request *r, int first, unsigned allowed,
                        struct scan_options *options);
// The cursor, and the head of an array of `n` elements, which follow.
void scan_reply_head(struct request *r, uint64_t cursor, int64_t n);
// The same with the elements, that were written to `found` (emptied).
void scan_reply(struct request *r, uint64_t cursor, int64_t n, struct outbuf *found);
