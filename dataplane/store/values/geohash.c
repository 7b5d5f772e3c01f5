#include "dataplane/store/values/geohash.h"

#include <math.h>
#include <string.h>

#define EARTH_RADIUS 6372797.560856 // metres
#define MERCATOR_MAX 20037726.37    // metres, half of the equator on the map
#define RADIANS_PER_DEGREE (M_PI / 180.0)
#define SCORE_BITS (2 * GEO_STEPS_MAX)

static double radians(double degrees)
{
    return degrees * RADIANS_PER_DEGREE;
}
static double degrees(double radians)
{
    return radians / RADIANS_PER_DEGREE;
}

// --- cells --------------------------------------------------------------------------------------

// A cell of the map that was halved `steps` times: its column and row.
struct cell {
    uint32_t x, y;
    unsigned steps;
};

struct limits { // degrees
    double min, max;
};
static const struct limits LONGITUDES = {-GEO_LONGITUDE_MAX, GEO_LONGITUDE_MAX};
static const struct limits LATITUDES = {-GEO_LATITUDE_MAX, GEO_LATITUDE_MAX};
static const struct limits TEXT_LATITUDES = {-90, 90};

bool geo_is_valid(struct geo_point p)
{
    return p.longitude >= LONGITUDES.min && p.longitude <= LONGITUDES.max &&
           p.latitude >= LATITUDES.min && p.latitude <= LATITUDES.max;
}

// The upper limit itself gives one more than the last cell.
static uint32_t cell_index(double degree, const struct limits *l, unsigned steps)
{
    double part = (degree - l->min) / (l->max - l->min);
    return (uint32_t)(part * (double)(1ull << steps));
}

static struct cell cell_at(struct geo_point p, unsigned steps)
{
    return (struct cell){
        .x = cell_index(p.longitude, &LONGITUDES, steps),
        .y = cell_index(p.latitude, &LATITUDES, steps),
        .steps = steps,
    };
}

static struct limits cell_limits(uint32_t index, const struct limits *l, unsigned steps)
{
    double scale = l->max - l->min, cells = (double)(1ull << steps);
    return (struct limits){
        .min = l->min + (index * 1.0 / cells) * scale,
        .max = l->min + ((index + 1) * 1.0 / cells) * scale,
    };
}

// The bits of x at the even places.
static uint64_t spread(uint32_t x)
{
    uint64_t b = x;
    b = (b | b << 16) & UINT64_C(0x0000ffff0000ffff);
    b = (b | b << 8) & UINT64_C(0x00ff00ff00ff00ff);
    b = (b | b << 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    b = (b | b << 2) & UINT64_C(0x3333333333333333);
    return (b | b << 1) & UINT64_C(0x5555555555555555);
}

static uint32_t gather(uint64_t b)
{
    b &= UINT64_C(0x5555555555555555);
    b = (b | b >> 1) & UINT64_C(0x3333333333333333);
    b = (b | b >> 2) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    b = (b | b >> 4) & UINT64_C(0x00ff00ff00ff00ff);
    b = (b | b >> 8) & UINT64_C(0x0000ffff0000ffff);
    return (uint32_t)(b | b >> 16);
}

static uint64_t cell_bits(struct cell c)
{
    return spread(c.y) | spread(c.x) << 1;
}

uint64_t geo_encode(struct geo_point p)
{
    return cell_bits(cell_at(p, GEO_STEPS_MAX));
}

// A score need not come from here: ZADD takes any. One out of range becomes what the instruction of
// x86 makes of it, which is what Redis shows.
static uint64_t bits_of_score(double score)
{
    const double half = 0x1p63;
    if (score >= half) {
        double rest = score - half;
        return rest < half ? (uint64_t)(int64_t)rest ^ UINT64_C(1) << 63 : 0;
    }
    return score >= -half ? (uint64_t)(int64_t)score : UINT64_C(1) << 63;
}

static double middle(struct limits l, double max)
{
    double m = (l.min + l.max) / 2;
    return m > max ? max : m < -max ? -max : m;
}

struct geo_point geo_decode(double score)
{
    uint64_t bits = bits_of_score(score);
    return (struct geo_point){
        .longitude =
            middle(cell_limits(gather(bits >> 1), &LONGITUDES, GEO_STEPS_MAX), GEO_LONGITUDE_MAX),
        .latitude = middle(cell_limits(gather(bits), &LATITUDES, GEO_STEPS_MAX), GEO_LATITUDE_MAX),
    };
}

void geo_text(struct geo_point p, char text[GEO_TEXT_BYTES])
{
    static const char alphabet[] = "0123456789bcdefghjkmnpqrstuvwxyz";
    struct cell c = {
        .x = cell_index(p.longitude, &LONGITUDES, GEO_STEPS_MAX),
        .y = cell_index(p.latitude, &TEXT_LATITUDES, GEO_STEPS_MAX),
    };
    uint64_t bits = cell_bits(c);
    // 52 bits fill ten letters; the eleventh is always the first of the alphabet.
    for (unsigned i = 0; i < 10; i++)
        text[i] = alphabet[bits >> (SCORE_BITS - 5 * (i + 1)) & 31];
    text[10] = alphabet[0];
    text[11] = '\0';
}

// --- distances ----------------------------------------------------------------------------------

static double latitude_distance(double a, double b)
{
    return EARTH_RADIUS * fabs(radians(b) - radians(a));
}

double geo_distance(struct geo_point a, struct geo_point b)
{
    double v = sin((radians(b.longitude) - radians(a.longitude)) / 2);
    if (v == 0)
        return latitude_distance(a.latitude, b.latitude);
    double a_latitude = radians(a.latitude), b_latitude = radians(b.latitude);
    double u = sin((b_latitude - a_latitude) / 2);
    return 2.0 * EARTH_RADIUS * asin(sqrt(u * u + cos(a_latitude) * cos(b_latitude) * v * v));
}

bool geo_contains(const struct geo_area *area, struct geo_point p, double *distance)
{
    struct geo_point c = area->center;
    if (area->box) {
        // The width is measured where the point is, not where the middle is.
        if (latitude_distance(p.latitude, c.latitude) > area->height / 2)
            return false;
        struct geo_point across = {.longitude = c.longitude, .latitude = p.latitude};
        if (geo_distance(p, across) > area->width / 2)
            return false;
        *distance = geo_distance(c, p);
        return true;
    }
    *distance = geo_distance(c, p);
    return !(*distance > area->radius);
}

// --- covering -----------------------------------------------------------------------------------

struct bounds {
    struct limits longitude, latitude;
};

// The rectangle of degrees around the area.
static struct bounds bounds_of(const struct geo_area *area)
{
    double longitude = area->center.longitude, latitude = area->center.latitude;
    double height = area->box ? area->height / 2 : area->radius;
    double width = area->box ? area->width / 2 : area->radius;
    double up = degrees(height / EARTH_RADIUS);
    // Wider towards the nearer pole.
    double side = latitude < 0 ? latitude - up : latitude + up;
    double across = degrees(width / EARTH_RADIUS / cos(radians(side)));
    return (struct bounds){
        .longitude = {longitude - across, longitude + across},
        .latitude = {latitude - up, latitude + up},
    };
}

// How often to halve the map so that a cell and those around it cover the radius.
static unsigned steps_for(double radius, double latitude)
{
    int steps = 1;
    if (radius == 0)
        return GEO_STEPS_MAX;
    for (; radius < MERCATOR_MAX; radius *= 2)
        steps++;
    steps -= 2;              // so that it is within in most cases
    if (fabs(latitude) > 66) // cells are narrow near the poles
        steps -= fabs(latitude) > 80 ? 2 : 1;
    return steps < 1 ? 1 : steps > GEO_STEPS_MAX ? GEO_STEPS_MAX : (unsigned)steps;
}

// The map is taken as closed at its edges, in both directions.
static struct cell neighbour(struct cell c, int x, int y)
{
    uint32_t mask = (uint32_t)((1ull << c.steps) - 1);
    if (x)
        c.x = (c.x + (uint32_t)x) & mask;
    if (y)
        c.y = (c.y + (uint32_t)y) & mask;
    return c;
}

// True when the cells around `c` end within the bounds.
static bool too_small(struct cell c, const struct bounds *b)
{
    struct limits north = cell_limits(neighbour(c, 0, 1).y, &LATITUDES, c.steps);
    struct limits south = cell_limits(neighbour(c, 0, -1).y, &LATITUDES, c.steps);
    struct limits east = cell_limits(neighbour(c, 1, 0).x, &LONGITUDES, c.steps);
    struct limits west = cell_limits(neighbour(c, -1, 0).x, &LONGITUDES, c.steps);
    return north.max < b->latitude.max || south.min > b->latitude.min ||
           east.max < b->longitude.max || west.min > b->longitude.min;
}

static struct geo_scores scores_of(struct cell c)
{
    unsigned shift = SCORE_BITS - 2 * c.steps;
    uint64_t bits = cell_bits(c);
    return (struct geo_scores){(double)(bits << shift), (double)((bits + 1) << shift)};
}

unsigned geo_cover(const struct geo_area *area, struct geo_scores ranges[GEO_RANGES_MAX])
{
    static const struct {
        int x, y;
    } order[GEO_RANGES_MAX] = {{0, 0}, {0, 1},  {0, -1}, {1, 0},  {-1, 0},
                               {1, 1}, {-1, 1}, {1, -1}, {-1, -1}};
    struct bounds b = bounds_of(area);
    unsigned steps = steps_for(area->radius, area->center.latitude);
    struct cell c = cell_at(area->center, steps);
    if (steps > 1 && too_small(c, &b))
        c = cell_at(area->center, --steps);
    // Sides on which the middle cell itself reaches beyond the bounds need no neighbours.
    bool skip_south = false, skip_north = false, skip_west = false, skip_east = false;
    if (steps >= 2) {
        struct limits x = cell_limits(c.x, &LONGITUDES, steps);
        struct limits y = cell_limits(c.y, &LATITUDES, steps);
        skip_south = y.min < b.latitude.min;
        skip_north = y.max > b.latitude.max;
        skip_west = x.min < b.longitude.min;
        skip_east = x.max > b.longitude.max;
    }
    unsigned n = 0;
    for (unsigned i = 0; i < GEO_RANGES_MAX; i++) {
        int x = order[i].x, y = order[i].y;
        if ((y < 0 && skip_south) || (y > 0 && skip_north) || (x < 0 && skip_west) ||
            (x > 0 && skip_east))
            continue;
        struct geo_scores scores = scores_of(neighbour(c, x, y));
        // Few cells cover a big area: the same one may come from both sides.
        if (n > 1 && ranges[n - 1].min == scores.min && ranges[n - 1].end == scores.end)
            continue;
        ranges[n++] = scores;
    }
    return n;
}
