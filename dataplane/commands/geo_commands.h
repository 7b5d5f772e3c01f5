// Geo commands: their table, and the handlers it names.
#pragma once

#include "dataplane/commands/command.h"
#include "dataplane/store/values/geohash.h"
#include "dataplane/store/values/sorted.h"

extern const struct command geo_commands[]; // ends with name NULL

// geo.c
void geoadd_command(struct request *r);
void geodist_command(struct request *r);
void geohash_command(struct request *r);
void geopos_command(struct request *r);

// geo_search.c
void georadius_command(struct request *r);
void georadius_ro_command(struct request *r);
void georadiusbymember_command(struct request *r);
void georadiusbymember_ro_command(struct request *r);
void geosearch_command(struct request *r);
void geosearchstore_command(struct request *r);
// True when STORE or STOREDIST stand where the key behind them cannot be told from the table.
bool georadius_needs_all(const struct arg *argv, int argc);
bool georadiusbymember_needs_all(const struct arg *argv, int argc);

// What they share (geo.c).

// Arguments i and i + 1 as a position; argument i as the metres of a unit. Both answer when they
// return false.
bool geo_parse_point(struct request *r, int i, struct geo_point *p);
bool geo_parse_unit(struct request *r, int i, double *metres);
void geo_reply_distance(struct request *r, double distance);
void geo_reply_point(struct request *r, struct geo_point p);

// A member that was found. Its name is got by sorted_item(&at).
struct geo_hit {
    double distance, score;
    struct sorted_at at;
    uint64_t number; // in the order of finding
};
// geo_sort.c: brings the nearest `wanted` of n (the farthest: descending) to the front, in order.
void geo_sort(struct geo_hit *hits, size_t n, size_t wanted, bool descending);
