// What the control plane tells of the server, as maps of RESP. Figures come from shared memory and
// from messages of cores; text in them is not trusted to end.
#pragma once

#include <stddef.h>

#include "common/plane.h"
#include "common/resp_text.h"

struct link;
struct server;

void report_status(struct resp_text *t, const struct server *server);
void report_cores(struct resp_text *t, const struct link *link);
// Appends the rows of a PLANE_CONNECTIONS answer (struct plane_rows), each a map. False when it is
// malformed; `t` is then of no use.
bool report_rows(struct resp_text *t, const uint8_t *data, size_t len, uint64_t *next,
                 uint32_t *rows);
