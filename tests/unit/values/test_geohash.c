// Places as scores: coding and decoding, distances, and that the ranges which cover an area miss
// nothing that lies in it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "dataplane/store/values/geohash.h"

enum { POINTS = 200000, AREAS = 20000, POINTS_OF_AREA = 40 };

static uint64_t state;

static uint64_t draw(void)
{
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}
static double draw_between(double min, double max)
{
    return min + (double)(draw() >> 11) * 0x1p-53 * (max - min);
}

static struct geo_point draw_point(double latitude_max)
{
    return (struct geo_point){draw_between(-180, 180), draw_between(-latitude_max, latitude_max)};
}

static void test_points(void **unused)
{
    (void)unused;
    state = 1;
    for (unsigned i = 0; i < POINTS; i++) {
        struct geo_point p = draw_point(GEO_LATITUDE_MAX);
        uint64_t bits = geo_encode(p);
        assert_true(bits < UINT64_C(1) << 52);
        struct geo_point q = geo_decode((double)bits);
        assert_true(fabs(p.longitude - q.longitude) <= 360 * 0x1p-27 * 1.0001);
        assert_true(fabs(p.latitude - q.latitude) <= 2 * GEO_LATITUDE_MAX * 0x1p-27 * 1.0001);
        assert_int_equal(geo_encode(q), bits);
    }
}

static void test_limits(void **unused)
{
    (void)unused;
    const double x = GEO_LONGITUDE_MAX, y = GEO_LATITUDE_MAX;
    assert_true(geo_is_valid((struct geo_point){x, y}));
    assert_true(geo_is_valid((struct geo_point){-x, -y}));
    assert_false(geo_is_valid((struct geo_point){x + 1e-9, 0}));
    assert_false(geo_is_valid((struct geo_point){0, -y - 1e-9}));
    assert_false(geo_is_valid((struct geo_point){NAN, 0}));
    assert_int_equal(geo_encode((struct geo_point){-x, -y}), 0);
    // Any score is decoded to something on the map.
    const double scores[] = {-1, 1e300, -1e300, INFINITY, -INFINITY, 0x1p52, 0x1p63, 0x1p64, 0.5};
    for (unsigned i = 0; i < sizeof(scores) / sizeof(scores[0]); i++)
        assert_true(geo_is_valid(geo_decode(scores[i])));
}

static void test_known(void **unused)
{
    (void)unused;
    const struct geo_point palermo = {13.361389, 38.115556}, catania = {15.087269, 37.502669};
    char text[GEO_TEXT_BYTES];
    geo_text(geo_decode((double)geo_encode(palermo)), text);
    assert_string_equal(text, "sqc8b49rny0");
    geo_text(geo_decode((double)geo_encode(catania)), text);
    assert_string_equal(text, "sqdtr74hyu0");
    double d = geo_distance(geo_decode((double)geo_encode(palermo)),
                            geo_decode((double)geo_encode(catania)));
    assert_true(fabs(d - 166274.1516) < 1e-4);
}

static void test_distance(void **unused)
{
    (void)unused;
    state = 2;
    for (unsigned i = 0; i < POINTS; i++) {
        struct geo_point a = draw_point(85), b = draw_point(85), c = draw_point(85);
        double ab = geo_distance(a, b);
        assert_true(ab >= 0 && ab <= M_PI * 6372797.560856 * 1.000001);
        assert_true(fabs(ab - geo_distance(b, a)) < 1e-3);
        assert_true(ab <= geo_distance(a, c) + geo_distance(c, b) + 1e-3);
        assert_true(geo_distance(a, a) == 0);
    }
}

// Areas that do not reach to where the map ends, which is where covering has gaps.
static void test_cover(void **unused)
{
    (void)unused;
    state = 3;
    unsigned inside = 0;
    for (unsigned i = 0; i < AREAS; i++) {
        struct geo_area area = {.center = {draw_between(-150, 150), draw_between(-60, 60)}};
        double size = exp(draw_between(log(1), log(1e6)));
        area.box = draw() % 2;
        area.width = size * draw_between(0.1, 2);
        area.height = size * draw_between(0.1, 2);
        area.radius = area.box ? hypot(area.width / 2, area.height / 2) : size;
        struct geo_scores ranges[GEO_RANGES_MAX];
        unsigned n = geo_cover(&area, ranges);
        assert_true(n >= 1 && n <= GEO_RANGES_MAX);
        for (unsigned k = 0; k < POINTS_OF_AREA; k++) {
            double far = size / 6372797 * 180 / M_PI * 2;
            struct geo_point p = {area.center.longitude + draw_between(-far, far),
                                  area.center.latitude + draw_between(-far, far)};
            if (!geo_is_valid(p))
                continue;
            double score = (double)geo_encode(p), distance;
            if (!geo_contains(&area, geo_decode(score), &distance))
                continue;
            inside++;
            unsigned found = 0;
            for (unsigned r = 0; r < n; r++)
                found += score >= ranges[r].min && score < ranges[r].end;
            assert_int_equal(found, 1);
        }
    }
    assert_true(inside > AREAS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_points), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_known),  cmocka_unit_test(test_distance),
        cmocka_unit_test(test_cover),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
