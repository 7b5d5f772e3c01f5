// String commands: their table, and the handlers it names.
#pragma once

#include "dataplane/commands/command.h"

extern const struct command strings_commands[]; // ends with name NULL

// Options of SET and GETEX, and the time they name.
enum string_options {
    STRING_NX = 1u << 0,
    STRING_XX = 1u << 1,
    STRING_GET = 1u << 2,
    STRING_KEEPTTL = 1u << 3,
    STRING_PERSIST = 1u << 4,
    STRING_EX = 1u << 5,
    STRING_PX = 1u << 6,
    STRING_EXAT = 1u << 7,
    STRING_PXAT = 1u << 8,
};
#define STRING_EXPIRES (STRING_EX | STRING_PX | STRING_EXAT | STRING_PXAT)

// strings_options.c
// Parses the arguments from `first` on; only options in `allowed` exist. *time is the index of the
// argument that holds the time, where one of STRING_EXPIRES is set. Answers when it returns false.
bool strings_parse_options(struct request *r, int first, unsigned allowed, unsigned *options,
                           int *time);
// The Unix time in ms that argument i means under `options` (one of STRING_EXPIRES). Answers when
// it returns false.
bool strings_parse_expiry(struct request *r, int i, unsigned options, int64_t *expiry_ms);
// The longest string a command may make: proto-max-bulk-len.
uint64_t strings_length_max(struct request *r);
// True when a string of size + added bytes may be made. Answers otherwise.
bool strings_check_length(struct request *r, uint64_t size, uint64_t added);

// strings.c
void set_command(struct request *r);
void setnx_command(struct request *r);
void setex_command(struct request *r);
void psetex_command(struct request *r);
void get_command(struct request *r);
void getex_command(struct request *r);
void getdel_command(struct request *r);
void getset_command(struct request *r);
void mget_command(struct request *r);
void mset_command(struct request *r);
void msetnx_command(struct request *r);

// strings_edit.c
// Room for the text of any long double without an exponent: 4,933 digits before the point.
#define STRING_FLOAT_MAX 5120
// A number as C's strtold reads it (so "inf" and "0x1p3" are some), without space around it. Not
// one that is out of range where that loses the value.
bool strings_parse_float(const uint8_t *bytes, size_t len, long double *value);
// Decimal digits without an exponent: 17 after the point, then without the zeros at the end.
// Returns the length.
size_t strings_format_float(char text[STRING_FLOAT_MAX], long double value);
void append_command(struct request *r);
void strlen_command(struct request *r);
void setrange_command(struct request *r);
void getrange_command(struct request *r);
void incr_command(struct request *r);
void decr_command(struct request *r);
void incrby_command(struct request *r);
void decrby_command(struct request *r);
void incrbyfloat_command(struct request *r);

// strings_lcs.c
void lcs_command(struct request *r);
