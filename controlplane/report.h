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
void report_connection(struct resp_text *t, const struct plane_connection *connection);
// `counters` is "name=value\n" text.
void report_nic(struct resp_text *t, const struct plane_nic *nic, const char *counters, size_t len);
void report_lines(struct resp_text *t, const char *text, size_t len);
