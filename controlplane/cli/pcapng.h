// Writes pcapng (draft-ietf-opsawg-pcapng): what Wireshark and tcpdump read. One section, one
// interface for each core, times in microseconds.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct pcapng_interface {
    const char *name; // of the device and core
    const char *description;
    const char *filter; // as it was given; NULL: none
    const uint8_t *mac; // 6 bytes, NULL: unknown
    uint32_t snaplen;
};

// Each returns false when writing failed (errno).
bool pcapng_begin(FILE *to, const char *application);
bool pcapng_interface(FILE *to, const struct pcapng_interface *interface);
// A frame of the interface that was described as the `interface`-th, from 0 on.
bool pcapng_frame(FILE *to, uint32_t interface, uint64_t time_us, bool outbound,
                  const uint8_t *bytes, uint32_t captured, uint32_t len);

struct pcapng_statistics {
    uint64_t begin_us, end_us; // wall
    uint64_t received, accepted, dropped, delivered;
};
bool pcapng_end(FILE *to, uint32_t interface, const struct pcapng_statistics *s);
