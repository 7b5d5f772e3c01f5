// Commands on keys of any type: their table, and the handlers it names.
#pragma once

#include "dataplane/commands/command.h"

extern const struct command keys_commands[]; // ends with name NULL

// keys.c
void del_command(struct request *r); // UNLINK too
void exists_command(struct request *r);
void touch_command(struct request *r);
void type_command(struct request *r);
void rename_command(struct request *r);
void renamenx_command(struct request *r);
void copy_command(struct request *r);
void move_command(struct request *r);

// dump.c
void dump_command(struct request *r);
void restore_command(struct request *r); // RESTORE-ASKING too

// migrate.c
int migrate_keys(const struct arg *argv, int argc, int *positions, int max);
void migrate_command(struct request *r);

// keys_expire.c
void expire_command(struct request *r);
void pexpire_command(struct request *r);
void expireat_command(struct request *r);
void pexpireat_command(struct request *r);
void ttl_command(struct request *r);
void pttl_command(struct request *r);
void expiretime_command(struct request *r);
void pexpiretime_command(struct request *r);
void persist_command(struct request *r);

// keys_scan.c
void scan_command(struct request *r);
bool scan_start(struct request *r);
void scan_part(struct request *r);
bool scan_core(const struct keyspace *ks, const struct arg *argv, int argc, unsigned *core);
void keys_part(struct request *r);
void keys_command(struct request *r);
void randomkey_part(struct request *r);
void randomkey_command(struct request *r);
void dbsize_part(struct request *r);
void dbsize_command(struct request *r);
void flushdb_command(struct request *r);
void flushall_command(struct request *r);
void swapdb_command(struct request *r);

// keys_object.c
void object_encoding_command(struct request *r);
void object_freq_command(struct request *r);
void object_idletime_command(struct request *r);
void object_refcount_command(struct request *r);
void object_help_command(struct request *r);
void memory_usage_command(struct request *r); // MEMORY USAGE

// Helpers of the family (keys.c).
// A database index: argument i as a 32-bit integer. `error` is the answer to what is none, NULL for
// the usual ones. Answers when it returns false.
bool keys_parse_index(struct request *r, int i, const char *error, int32_t *index);
// True when there is such a database. Answers otherwise.
bool keys_check_database(struct request *r, int32_t index);

void sort_command(struct request *r);
void sort_ro_command(struct request *r);
bool sort_needs_all(const struct arg *argv, int argc);
int sort_find_keys(const struct arg *argv, int argc, int *positions, int max);
int sort_ro_find_keys(const struct arg *argv, int argc, int *positions, int max);
