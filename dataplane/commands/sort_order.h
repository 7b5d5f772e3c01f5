// Elements of SORT and their order. For sort.c only.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sort_text {
    const uint8_t *ptr; // NULL: there is none, which comes before all that are
    size_t len;
};

struct sort_item {
    uint64_t key; // decides nearly always: a score's place, or the first bytes of a text
    struct sort_text element;
    struct sort_text by; // with SORT_BY_TEXT
};

enum sort_order_flags {
    SORT_ALPHA = 1u << 0,   // by text, else by score
    SORT_BY_TEXT = 1u << 1, // by the text of `by`, else of the element itself
    SORT_DESCENDING = 1u << 2,
};

// Reads as C's strtod does, whole. False: it does not, or is no number that a double can be near
// to.
bool sort_score(const struct sort_text *text, double *score);
uint64_t sort_key_of_text(const struct sort_text *text);
// Puts the items in order; equal ones stay as they are. False: memory is short, nothing changed.
bool sort_items(struct sort_item *items, size_t n, unsigned flags);
// The same over several calls that do about `most` items each: pieces are sorted, then merged.
// Begins with `items`, `n` and `flags` set and the rest zero; ends with `items` in order, in the
// memory given or in `other`. Both are the caller's to free.
struct sort_progress {
    struct sort_item *items, *other;
    size_t n;
    unsigned flags;
    size_t width;      // of what is in order; 0: pieces are being sorted
    size_t done;       // items of this round
    size_t a, b, base; // of the pair that is being merged: the next of either, from its first item
};
enum sort_state { SORT_MORE, SORT_DONE, SORT_NO_MEMORY };
enum sort_state sort_items_step(struct sort_progress *p, size_t most);
