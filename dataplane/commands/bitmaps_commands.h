// Bitmap commands: their table, and the handlers it names.
#pragma once

#include "dataplane/commands/command.h"

extern const struct command bitmaps_commands[]; // ends with name NULL

// bitmaps.c
void setbit_command(struct request *r);
void getbit_command(struct request *r);
void bitcount_command(struct request *r);
void bitpos_command(struct request *r);
void bitop_command(struct request *r);

// bitfield.c
void bitfield_command(struct request *r);
void bitfield_ro_command(struct request *r);

// Argument i as the offset of a bit that a string may have. With `width`, "#n" is the n-th integer
// of so many bits. Answers when it returns false.
bool bitmaps_parse_offset(struct request *r, int i, unsigned width, uint64_t *offset);
// Makes a string that can be changed in place from what the key holds (`e` NULL: nothing), long
// enough for the bit at `offset`. *grown tells whether it became longer. NULL: memory is short.
struct entry *bitmaps_open(struct request *r, const struct key *key, struct entry *e,
                           uint64_t offset, bool *grown);
