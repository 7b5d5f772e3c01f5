// RESP as the control plane and its tools use it: replies built in growing memory, requests and
// replies read from it. Kept apart from dataplane/resp, which is made for the path of a million
// requests a second; this is made to be short and to be safe with a peer that sends garbage.
//
// Errors of memory are kept in the text (`failed`) and looked at once, at the end.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define RESP_DEPTH_MAX 32 // of nesting; Redis's own replies stay below 8

// --- writing -------------------------------------------------------------------------------------

struct resp_text {
    char *data; // malloc
    size_t len, cap;
    int resp;    // protocol to write: 2 or 3
    bool failed; // memory was short, `data` is incomplete
    // Aggregates that are open: where their header will stand and how many values they have so far.
    unsigned depth;
    struct {
        size_t at, n;
        char type;
    } open[RESP_DEPTH_MAX];
};

void resp_text_free(struct resp_text *t);
void resp_put_raw(struct resp_text *t, const void *data,
                  size_t len); // bytes as they are, not a value
// An aggregate: '*' array, '%' map, '~' set, '>' push. What is put until resp_close belongs to it.
void resp_open(struct resp_text *t, char type);
void resp_close(struct resp_text *t);
void resp_put_status(struct resp_text *t, const char *text);
void resp_put_error(struct resp_text *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void resp_put_bytes(struct resp_text *t, const void *data, size_t len);
void resp_put_string(struct resp_text *t, const char *text);
void resp_put_integer(struct resp_text *t, int64_t value);
void resp_put_double(struct resp_text *t, double value);
void resp_put_bool(struct resp_text *t, bool value);
void resp_put_null(struct resp_text *t);
// Members of a map.
void resp_field_string(struct resp_text *t, const char *name, const char *value);
void resp_field_integer(struct resp_text *t, const char *name, int64_t value);
void resp_field_double(struct resp_text *t, const char *name, double value);
void resp_field_bool(struct resp_text *t, const char *name, bool value);
void resp_field_open(struct resp_text *t, const char *name, char type);
// A command: an array of bulk strings.
void resp_put_command(struct resp_text *t, unsigned argc, const char *const *argv,
                      const size_t *lens);

// --- reading requests ----------------------------------------------------------------------------

struct resp_word {
    const char *ptr;
    size_t len;
};

// One request, an array of bulk strings or an inline line, from the start of `data`; the words lie
// in `data`. Returns the bytes it takes, 0 when more are needed, -1 with `error` when it is none.
// `argc` is 0 for an empty line.
ssize_t resp_request(const char *data, size_t len, struct resp_word *words, unsigned max,
                     unsigned *argc, const char **error);

// --- reading replies -----------------------------------------------------------------------------

// Finds the end of a reply that arrives in pieces, looking at each byte once.
struct resp_scan {
    size_t at;     // bytes understood
    uint64_t left; // values that are still to come, less one; starts at 0
    bool ended;
};
// `data` starts at the reply's first byte, always. True when it is whole: `at` is its length. *bad
// when it is no RESP.
bool resp_scan(struct resp_scan *s, const char *data, size_t len, bool *bad);

struct resp_value {
    char type;       // as on the wire: + - : , # _ $ * % ~ > = ( !
    bool null;       // $-1, *-1 or _
    int64_t integer; // : and #
    double number;   // ,
    char *text;      // + - $ = ( ! and the text of a number; terminated
    size_t len;
    struct resp_value *items; // aggregates; a map has two for each member
    size_t n;
};

// Reads a whole reply (as resp_scan found it). NULL when it is malformed, nested too deep, or
// memory is short. Freed with resp_value_free.
struct resp_value *resp_value_read(const char *data, size_t len);
void resp_value_free(struct resp_value *v);
void resp_value_clear(struct resp_value *v); // frees what it holds, not itself
// The member of a map, NULL if there is none (or `v` is NULL or no map).
const struct resp_value *resp_member(const struct resp_value *v, const char *name);
int64_t resp_member_integer(const struct resp_value *v, const char *name);
double resp_member_double(const struct resp_value *v, const char *name);
const char *resp_member_string(const struct resp_value *v, const char *name); // "" if there is none
// Writes a value in the protocol of `t` (a map becomes an array in RESP2, and so on).
void resp_put_value(struct resp_text *t, const struct resp_value *v);
