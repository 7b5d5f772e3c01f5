// A stream: entries in order of their ids, and consumer groups.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct stream_value;

size_t stream_memory(const struct stream_value *x); // all of it, the struct included
uint64_t stream_count(const struct stream_value *x);
struct stream_value *stream_copy(const struct stream_value *x);
// Frees what about `*budget` elements take, the struct too when all are gone: true then.
bool stream_free_step(struct stream_value *x, unsigned *budget);
