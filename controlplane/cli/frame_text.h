// One line for a frame, in the manner of tcpdump, and the same for programs. Frames come from
// strangers: nothing of them is believed beyond the bytes that are there.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_TEXT_MAX 512

struct frame_facts {
    uint32_t len, captured;
    uint16_t vlan; // 0: none
    uint16_t ethertype;
    char source[64], destination[64]; // addresses of the innermost protocol that has some
    const char *protocol; // "TCP", "UDP", "ICMP", "ICMP6", "ARP", "IP", "IP6", "Ethernet"
    bool has_ports;
    uint16_t source_port, destination_port;
    // TCP
    bool is_tcp;
    uint8_t flags;
    uint32_t seq, ack, window, payload;
    char detail[256]; // what else there is to say: options, types, questions
};

void frame_facts(struct frame_facts *f, const uint8_t *bytes, uint32_t captured, uint32_t len);
// "S.", "P.", "none": as tcpdump writes the flags of TCP.
const char *frame_flags(uint8_t flags, char text[12]);
// Without time, direction and line end. `text` holds FRAME_TEXT_MAX bytes.
const char *frame_text(const struct frame_facts *f, char *text);
