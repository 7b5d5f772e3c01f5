// Places on the Earth as numbers of 52 bits: longitude and latitude are each cut in half 26 times,
// and the bits of both alternate. Such a number is the score of a member, so that the places of one
// cell of any size are one range of scores.
//
// The arithmetic is Redis's to the last bit, since coordinates and distances are shown with 17
// digits: the project is compiled without fused operations.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GEO_STEPS_MAX 26
#define GEO_LONGITUDE_MAX 180.0
#define GEO_LATITUDE_MAX 85.05112878 // where the Mercator map is as high as it is wide

struct geo_point {
    double longitude, latitude;
};

bool geo_is_valid(struct geo_point p);                       // within the limits above
uint64_t geo_encode(struct geo_point p);                     // of a valid one: the score
struct geo_point geo_decode(double score);                   // of any score; the middle of its cell
double geo_distance(struct geo_point a, struct geo_point b); // metres, over the great circle
// The usual geohash text, whose latitudes reach to 90 degrees. Terminated.
#define GEO_TEXT_BYTES 12
void geo_text(struct geo_point p, char text[GEO_TEXT_BYTES]);

// What is searched: a circle, or a box, whose `radius` is that of the circle around it.
struct geo_area {
    struct geo_point center;
    bool box;
    double radius, width, height; // metres
};
// True when the point lies in the area; its distance from the middle.
bool geo_contains(const struct geo_area *area, struct geo_point p, double *distance);

// Ranges of scores, each from `min` to below `end`, that cover the area: the cell of its middle and
// those around it, in the order in which Redis looks at them.
#define GEO_RANGES_MAX 9
struct geo_scores {
    double min, end;
};
unsigned geo_cover(const struct geo_area *area, struct geo_scores ranges[GEO_RANGES_MAX]);
