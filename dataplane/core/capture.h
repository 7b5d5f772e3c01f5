// Capturing frames of a core's port (capture.c). Called on the core.
#pragma once

#include "dataplane/core/core.h"

// What is wrong with a program of classic BPF, NULL if it may run.
const char *capture_filter_wrong(const void *program, size_t len);

// Only while c->capture is set: frames that came, and frames that go (sends them; returns how many
// the port took).
void capture_received(struct core *c, struct frame **frames, unsigned n);
unsigned capture_sending(struct core *c, struct frame **frames, unsigned n);
// Ends a capture whose lease is over.
void capture_look(struct core *c);

// PLANE_CAPTURE; answered when the ring is mapped.
void capture_begin(struct core *c, const struct plane_message *m, const uint8_t *data, size_t len);
void capture_end(struct core *c);
// The answer to PLANE_CAPTURE and PLANE_CAPTURE_END.
void tell_capture(struct core *c, const struct plane_message *m);
