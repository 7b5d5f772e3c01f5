// Measurements made by hand, and what a report wrote of them.
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/measurement.h"
#include "bench/options.h"

#define US 1000u // nanoseconds

static inline struct options made_options(void)
{
    return (struct options){
        .host = "192.0.2.1",
        .port = 6379,
        .threads = 2,
        .connections = 50,
        .pipeline = 16,
        .duration_s = 2,
        .tests = {"set", "get"},
        .n_tests = 2,
        .set_weight = 1,
        .get_weight = 10,
        .data = {.kind = SIZES_FIXED, .low = 64},
        .keys = 1000000,
        .theta = 0.99,
        .seed = 1,
        .stall_s = 10,
    };
}

// 10,000 requests in 2 s: 100 to 199 us, each value 100 times.
static inline struct measurement *made_measurement(const char *name, unsigned commands,
                                                   unsigned nodes)
{
    struct measurement *m = measurement_new(name, commands, nodes);
    m->seconds = 2;
    m->requests = m->kinds[REPLY_OK] = 10000;
    m->bytes_out = 3000000;
    m->bytes_in = 50000;
    m->threads = 2;
    m->finished = true;
    for (unsigned us = 100; us < 200; us++)
        histogram_record(&m->latency, us * US, 100);
    return m;
}

// What `call`, which writes to the FILE `to`, wrote; to be freed.
#define WRITTEN(call)                              \
    ({                                             \
        char *text_ = NULL;                        \
        size_t size_ = 0;                          \
        FILE *to = open_memstream(&text_, &size_); \
        (void)(call);                              \
        fclose(to);                                \
        text_;                                     \
    })
