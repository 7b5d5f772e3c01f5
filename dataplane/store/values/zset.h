// A big sorted set: members by name, and their order in a tree.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct zset;

size_t zset_memory(const struct zset *z); // all of it, the struct included
uint64_t zset_count(const struct zset *z);
struct zset *zset_copy(struct store *s, const struct zset *z);
// Frees what about `*budget` elements take, the struct too when all are gone: true then.
bool zset_free_step(struct zset *z, unsigned *budget);
