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
