// Patterns of KEYS, SCAN MATCH, PSUBSCRIBE and CONFIG GET: `*`, `?`, `[a-z]`, `[^a-z]`, `\` before
// a character to take it literally. A class that is not closed ends with the pattern. Bytes are
// bytes: nothing here knows of locales or encodings.
#pragma once

#include <stdbool.h>
#include <stddef.h>

// Whether the whole of `text` matches. Iterative; at most pattern_len * text_len steps, whatever
// the pattern. With `nocase` ASCII letters match in either case (not those behind `\` inside a
// class). Any thread; both strings may hold any bytes and need no terminator.
bool glob_match(const char *pattern, size_t pattern_len, const char *text, size_t text_len,
                bool nocase);
