// Quicklist: a list as a chain of listpacks.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct quicklist;

size_t quicklist_memory(const struct quicklist *ql); // all of it, the struct included
uint64_t quicklist_count(const struct quicklist *ql);
struct quicklist *quicklist_copy(const struct quicklist *ql);
void quicklist_free(struct quicklist *ql);
// Frees what about `*budget` elements take, the struct too when all are gone: true then.
bool quicklist_free_step(struct quicklist *ql, unsigned *budget);
