// What was measured, for people and for programs.
#pragma once

#include "bench/client.h"

// One test as a few lines of text.
void report_text(const struct options *o, const struct measurement *m);
// All tests as one JSON object; begin, one call for each test, end.
void report_json_begin(const struct options *o);
void report_json_test(const struct options *o, const struct measurement *m);
void report_json_end(void);
