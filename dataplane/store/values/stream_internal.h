// What the files of streams share and nobody else needs.
#pragma once

#include "dataplane/store/values/stream.h"

enum stream_entry_flags { STREAM_DELETED = 1, STREAM_SAME_FIELDS = 2 };
// Elements of an entry before its words: flags, ms, seq.
enum { STREAM_ENTRY_HEAD = 3 };

// Trees by id: the probe begins with seq, as the items do.
int stream_compare_seq(const void *probe, const void *item);
int stream_compare_group(const void *probe, const void *item);
// Copies the next group, consumer or pending entry. False: memory is short.
bool stream_copy_group_step(struct stream_copying *c);
bool stream_free_groups(struct stream_value *x, unsigned *budget);
