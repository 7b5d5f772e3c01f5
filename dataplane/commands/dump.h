// Values as DUMP gives them and RESTORE takes them: type, value, version, CRC.
#pragma once

#include "common/outbuf.h"
#include "dataplane/commands/command.h"

// Writes the payload of an entry. False: memory is short.
bool dump_payload(const struct request *r, const struct entry *e, struct outbuf *out);
