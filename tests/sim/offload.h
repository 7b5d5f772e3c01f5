// What a NIC does with a frame that asks for it: checksums, and cutting into segments. For wires in
// memory.
#pragma once

#include <stdint.h>

#include "common/frame.h"

// Calls `each` with what goes over the wire; `data` is valid during the call. The frame stays as it
// is.
void offload_send(const struct frame *f,
                  void (*each)(void *context, const uint8_t *data, uint32_t len), void *context);
