// The control plane's answers, shown to people (tables) and to programs (JSON).
#pragma once

#include "common/resp_text.h"

void show_status(const struct resp_value *v);
void show_cores(const struct resp_value *v);
void show_neighbours(const struct resp_value *v);
// Pairs of names and values.
void show_pairs(const struct resp_value *v);
// Any reply, as redis-cli shows one.
void show_value(const struct resp_value *v);
// Any reply as JSON, in one line when `compact`. Bytes that are no UTF-8 are shown as Latin-1.
void show_json(const struct resp_value *v, bool compact);
