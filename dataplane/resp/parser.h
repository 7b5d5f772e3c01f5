// The parser of requests: RESP arrays of bulk strings and inline commands, resumable at any byte
// boundary, bounded, in place. Protocol errors are worded as Redis words them.
//
// A command that lies whole in the caller's bytes is shown where it lies. One that is cut by the
// end of the bytes is copied into the parser's own buffer and completed there, token by token, by
// later calls; bytes behind it stay with the caller. An argument of at least PARSER_BIG_ARG bytes
// is received into a block of its own, which the store may keep.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arg.h"

#define PARSER_INLINE_MAX (64 * 1024) // an inline command, or a line of RESP's header
// What `error` is when the peer speaks TLS.
extern const char parser_error_tls[];
#define PARSER_BIG_ARG (32 * 1024)
#define PARSER_ARGS_MAX INT32_MAX // as Redis 7.0
#define PARSER_ARGS_UNAUTHENTICATED 10
#define PARSER_BULK_UNAUTHENTICATED (16 * 1024)

struct parser_limits {
    size_t bulk_max;  // proto-max-bulk-len
    size_t query_max; // client-query-buffer-limit: bytes an unfinished command may hold
    bool authenticated;
};

enum parser_status {
    PARSER_COMMAND,    // one command: `argc` arguments wait for parser_take
    PARSER_EMPTY,      // an empty line, *0 or *-1: nothing to execute
    PARSER_INCOMPLETE, // all bytes were taken; more are needed
    PARSER_ERROR,      // `error` holds the text behind "-ERR "; the connection is beyond repair
    PARSER_TOO_BIG,    // query_max was passed: close without a reply, as Redis does
    PARSER_NO_MEMORY,
};

struct parser_arg {
    size_t offset; // from the start of the command's bytes, where block is NULL
    size_t len;
    struct block *block;
};

#define PARSER_SMALL 8

struct parser {
    const char *error; // valid after PARSER_ERROR
    size_t scanned;    // bytes of this command understood so far
    int64_t args_left; // arguments still to come
    int64_t bulk_len;  // length of the bulk string being read, -1 between bulk strings
    struct block *filling;
    size_t block_bytes; // of the arguments that have a block
    int argc, args_cap;
    bool started;            // the header line was read
    bool buffered;           // the command's bytes are in `buf`, not with the caller
    struct parser_arg *args; // `small` until a command has more
    struct parser_arg small[PARSER_SMALL];
    uint8_t *buf; // mimalloc
    size_t buf_len, buf_cap;
    char error_text[64];
};

void parser_init(struct parser *p);
// Frees everything.
void parser_clear(struct parser *p);
// Parses one command. *used tells how many of the bytes were taken.
enum parser_status parser_run(struct parser *p, const struct parser_limits *limits,
                              const uint8_t *data, size_t len, size_t *used);
// Nearly all commands: one of at most `max` short arguments that lies whole in the caller's bytes.
// Shows the arguments over these bytes and returns how many bytes it took; 0, and nothing is
// changed, when parser_run must look: because the command is cut, long, inline, wrong, or the
// client is not authenticated.
size_t parser_quick(const struct parser *p, const struct parser_limits *limits, const uint8_t *data,
                    size_t len, struct arg *argv, int max, int *argc);
// After PARSER_COMMAND: shows the arguments, over the caller's bytes (`data` as in that call) or
// the parser's buffer; they stay valid until the caller's bytes go or the next parser_run,
// whichever is first for each. References to blocks go over to the caller. `argv` has room for
// parser->argc. Returns true when arguments lie in the parser's buffer: then parser_run must not be
// called until they were used.
bool parser_take(struct parser *p, const uint8_t *data, struct arg *argv);
// Gives back what is kept for the next command, where none has begun.
void parser_shrink(struct parser *p);
// Bytes of heap memory held, for limits and CLIENT LIST.
size_t parser_memory(const struct parser *p);
