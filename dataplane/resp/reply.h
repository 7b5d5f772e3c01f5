// Writing replies in RESP2 or RESP3 into an output. `resp` is the protocol of the client the reply
// is for (2 or 3); functions without it write the same bytes in both.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/out.h"

struct block;

void reply_status(struct out *o, const char *text); // +text
void reply_error(struct out *o, const char *text);  // -text ("ERR …" included)
void reply_errorf(struct out *o, const char *format, ...) __attribute__((format(printf, 2, 3)));
void reply_integer(struct out *o, int64_t value);             // :value
void reply_bulk(struct out *o, const void *data, size_t len); // $len
void reply_bulk_string(struct out *o, const char *text);      // $strlen
void reply_bulk_integer(struct out *o, int64_t value);        // $len of the decimal digits
// Bytes of a block, by reference when they are many.
void reply_bulk_block(struct out *o, struct block *block, size_t offset, size_t len);
void reply_null(struct out *o, int resp);                 // $-1 or _
void reply_null_array(struct out *o, int resp);           // *-1 or _
void reply_array(struct out *o, int64_t n);               // *n
void reply_map(struct out *o, int resp, int64_t n);       // *2n or %n
void reply_set(struct out *o, int resp, int64_t n);       // *n or ~n
void reply_push(struct out *o, int resp, int64_t n);      // *n or >n
void reply_bool(struct out *o, int resp, bool value);     // :1 or #t
void reply_double(struct out *o, int resp, double value); // bulk or ,value
void reply_verbatim(struct out *o, int resp, const char *kind, const void *data, size_t len);
// An error reply that ends the connection for a protocol error starts with "ERR Protocol error: ".

// The decimal digits of `value` at `text` (at least 20 bytes; not terminated). Returns their
// number.
unsigned format_int64(char *text, int64_t value);
// Strict decimal (what Redis accepts as an integer: no sign "+", no leading zeros or spaces).
bool parse_int64(const uint8_t *text, size_t len, int64_t *value);
