// Redis Cluster's hash slots: CRC16 (XMODEM: polynomial 0x1021, initial value 0) of the key, or of
// what stands between the first '{' and the next '}' of it if that is not empty, modulo 16,384.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SLOTS 16384

uint16_t crc16(const uint8_t *data, size_t len);
uint16_t slot_of_key(const uint8_t *key, size_t len);
