// The CRC that ends Redis's files and DUMP's payloads: 64 bits, polynomial 0xad93d23594c935a9
// (Jones), bits reflected, starting from 0, nothing added at the end.
#pragma once

#include <stddef.h>
#include <stdint.h>

uint64_t crc64(uint64_t crc, const void *data, size_t len); // goes on from `crc`
