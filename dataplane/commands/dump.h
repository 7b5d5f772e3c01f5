// Values as DUMP gives them and RESTORE takes them: type, value, version, CRC.
#pragma once

#include "common/outbuf.h"
#include "dataplane/commands/command.h"

// Writes the payload of an entry. False: memory is short.
bool dump_payload(const struct request *r, const struct entry *e, struct outbuf *out);

// What ends a payload: the version, 16 bits, and the CRC, 64 bits, both little-endian.
#define DUMP_FOOTER_BYTES 10
void dump_footer(struct outbuf *out, unsigned version);
bool dump_footer_is_right(const struct arg *payload); // of a version that is known, and whole
