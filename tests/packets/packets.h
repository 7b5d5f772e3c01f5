// Packet scripts: one exchange of packets with the TCP/IP stack is one readable case. The language
// is told in tests/packets/README; this header is what the files of its runner share.
//
//   text.c     words, numbers, addresses of a line          packet.c  a packet as text, and
//   matching frames.c   packets to frames and back                   stage.c   the stack under
//   test, its time actions.c  what the owner does and what is expected     main.c    files, cases,
//   the report
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "dataplane/net/internal.h"
#include "dataplane/net/tcp.h"
#include "tests/sim/wire.h"

enum {
    LINE_MAX_BYTES = 1024,
    FLOWS_MAX = 26,
    OPTIONS_MAX = 24,
    OUT_MAX = 1024, // frames that wait to be claimed by `>` lines
    RAW_MAX = 2048,
    LOG_MAX = 12, // packets that a report shows
    US = 1000000,
};

// --- text.c --------------------------------------------------------------------------------------

// What is left of a line.
struct text {
    const char *p;
};

struct address {
    uint8_t family; // 4, 6, 0: none
    uint8_t bytes[16];
};

// The next word (up to a space, or to one of `stop`) into `word`; false at the end of the line.
bool text_word(struct text *t, char *word, size_t size, const char *stop);
// Takes `word` when it comes next, as a whole word or when it is punctuation.
bool text_take(struct text *t, const char *word);
bool text_end(struct text *t);
bool text_number(struct text *t, uint64_t *n); // decimal or 0x…
bool text_seconds(struct text *t, uint64_t *us);
bool text_address(struct text *t, struct address *a);
bool text_mac(struct text *t, uint8_t mac[6]);
// Bytes in hex; `mask` (may be NULL) gets 0 where the script has `**`. -1: malformed.
int text_hex(struct text *t, uint8_t *bytes, uint8_t *mask, unsigned max);
void address_format(const struct address *a, char *to, size_t size);
bool address_equal(const struct address *a, const struct address *b);

// --- packet.c ------------------------------------------------------------------------------------

enum packet_kind {
    PACKET_TCP,
    PACKET_ICMP,
    PACKET_ICMP6,
    PACKET_ARP,
    PACKET_UDP,
    PACKET_IP,
    PACKET_RAW
};

// Which fields a script names.
enum given {
    GIVEN_FLAGS = 1u << 0,
    GIVEN_SEQ = 1u << 1,
    GIVEN_LEN = 1u << 2,
    GIVEN_ACK = 1u << 3,
    GIVEN_WIN = 1u << 4,
    GIVEN_URG = 1u << 5,
    GIVEN_OPTIONS = 1u << 6,
    GIVEN_ECN = 1u << 7,
    GIVEN_TTL = 1u << 8,
    GIVEN_TOS = 1u << 9,
    GIVEN_DF = 1u << 10,
    GIVEN_FRAG = 1u << 11,
    GIVEN_SRC = 1u << 12,
    GIVEN_DST = 1u << 13,
    GIVEN_SMAC = 1u << 14,
    GIVEN_DMAC = 1u << 15,
    GIVEN_VLAN = 1u << 16,
    GIVEN_SPORT = 1u << 17,
    GIVEN_DPORT = 1u << 18,
    GIVEN_TYPE = 1u << 19,
    GIVEN_CODE = 1u << 20,
    GIVEN_VALUE = 1u << 21, // ICMP: MTU, or identifier and sequence
    GIVEN_QUOTE = 1u << 22,
    GIVEN_TARGET = 1u << 23,
    GIVEN_LLA = 1u << 24, // link-layer address option of neighbour discovery
    GIVEN_TSO = 1u << 25,
    GIVEN_FILL = 1u << 26,
    GIVEN_DOFF = 1u << 27,
    GIVEN_IP_LEN = 1u << 28,
    GIVEN_PREFIX = 1u << 29,
    GIVEN_MTU = 1u << 30,
};

// What is wrong with a frame that is sent into the stack on purpose.
enum damage {
    DAMAGE_L4_SUM = 1u << 0,
    DAMAGE_IP_SUM = 1u << 1,
    DAMAGE_PARTIAL_SUM = 1u << 2,    // only the pseudo-header's
    DAMAGE_PORT_SAYS_GOOD = 1u << 3, // offload flags of the port, whatever the sums are
    DAMAGE_PORT_SAYS_BAD = 1u << 4,
};

enum { TCP_OPTION_RAW = 255 }; // bytes as they are
struct tcp_option {
    uint8_t kind;
    uint8_t n;         // values
    bool absent;       // must not be there
    bool raw_value[8]; // given with `=`: not relative
    bool any[8];
    uint32_t value[8];
    uint8_t raw[40], raw_len;
};

// A packet as the script writes it, or as a frame says it. Sequence numbers are those of the script
// (relative) in the former and those of the wire in the latter.
struct script_packet {
    enum packet_kind kind;
    uint32_t given;
    uint32_t damage;
    // Ethernet and IP
    uint8_t smac[6], dmac[6];
    uint16_t vlan;
    struct address src, dst;
    uint8_t ecn, ttl, tos, protocol;
    bool df;
    uint16_t frag; // as in the header: flag and offset
    uint16_t ip_len;
    uint8_t ip_options[40], n_ip_options;
    uint16_t cut, pad; // of the frame: cut to this many bytes (0: not), so many behind it
    uint16_t patch_at[4];
    uint8_t patch[4][16], patch_len[4], n_patches;
    // TCP, UDP
    uint16_t sport, dport;
    uint8_t flags;
    bool push_any;
    bool seq_raw, ack_raw;
    uint32_t seq, len, ack, win, urg, doff;
    uint8_t fill;
    uint16_t tso;
    struct tcp_option option[OPTIONS_MAX];
    unsigned n_options;
    bool options_more;
    // ICMP, neighbour discovery, ARP
    uint8_t type, code;
    uint32_t value;
    uint32_t quote;
    bool quote_last;
    uint32_t quote_len;
    struct address target, sender;
    uint8_t lla[6];
    uint8_t prefix_len;
    uint32_t mtu, valid_s;
    // raw
    uint8_t raw[RAW_MAX], mask[RAW_MAX];
    unsigned raw_len;
    // of a frame
    const uint8_t *data;      // payload
    bool sums_good, sum_left; // left to the port
};

struct flow;
struct stage;

// Reads a packet behind `<` or `>`. False: `error` holds a line.
bool packet_parse(struct stage *g, struct flow *f, struct text *t, bool expected,
                  struct script_packet *p, char *error, size_t error_size);
// A frame's packet in the script's language.
void packet_format(struct stage *g, const struct script_packet *p, char *to, size_t size);
// Compares what is expected with what was seen; learns sequence numbers and ports. False: `why`.
bool packet_match(struct stage *g, struct flow *f, const struct script_packet *expected,
                  const struct script_packet *seen, char *why, size_t why_size);

// --- frames.c ------------------------------------------------------------------------------------

// Makes the frame; returns its length. `now`: of automatic timestamps.
uint32_t frame_build(struct stage *g, struct flow *f, const struct script_packet *p, uint8_t *to,
                     uint32_t *frame_flags);
// What a frame says.
void frame_read(const uint8_t *data, uint32_t len, struct script_packet *p);
// Byte `at` of a stream: what is written and read must be this.
static inline uint8_t pattern_byte(bool ours, uint64_t at)
{
    return (uint8_t)(at * 131 + (at >> 8) * 7 + (ours ? 59 : 0));
}

// --- stage.c: the stack under test ---------------------------------------------------------------

struct flow {
    bool used;
    char name;
    struct address ours, theirs;
    uint16_t our_port, their_port; // our_port 0: learned from the next packet
    uint32_t our_isn, their_isn;
    bool isn_known;
    uint32_t stamp_base, stamp_last; // of the stack's timestamps
    bool stamps_known;
    bool auto_stamps; // segments carry a timestamp unless the script says otherwise
    uint32_t stamp_first;
    uint64_t stamp_since_us;
    uint32_t win; // of segments that name none
    struct stream *stream;
    unsigned events; // that were not expected yet
    bool closed, accepted;
    uint8_t error;
    uint64_t written, read;
};

struct out_frame {
    uint8_t *data;
    uint32_t len;
    uint16_t flags, tso;
    uint64_t at_us;
};

struct stage {
    const char *file, *title;
    unsigned line;
    bool failed, verbose;
    char *report; // what went wrong, for a person
    size_t report_size;

    struct net_config config;
    bool started, manual_neighbours, refuse, hold_events, port_holds;
    unsigned frames; // of the pool
    uint32_t frame_size;
    struct net *net;
    struct wire_pool pool;
    uint64_t now_us, start_us;
    bool turn_open;
    struct frame *rx;
    unsigned n_rx;
    struct out_frame out[OUT_MAX];
    unsigned out_first, out_end;
    struct flow flow[FLOWS_MAX];
    struct net_counters counted;
    char log[LOG_MAX][LINE_MAX_BYTES + 64];
    unsigned logged;
    uint8_t last_in[RAW_MAX]; // the IP packet that was sent into the stack last
    uint32_t last_in_len;
    const char *inputs_folder; // where cases are written as inputs of fuzz_packets, NULL: nowhere
    unsigned inputs_written;
    FILE *input;
    uint64_t input_us;
};

void stage_init(struct stage *g, const char *file, const char *title);
// Ends the case: what is left over is a failure.
void stage_finish(struct stage *g);
void stage_fail(struct stage *g, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool stage_start(struct stage *g);
// Runs one line of a script. False: the case failed, or ended.
bool stage_line(struct stage *g, unsigned number, const char *line);
void stage_inject(struct stage *g, const uint8_t *data, uint32_t len, uint32_t flags);
void stage_turn(struct stage *g);
// Time passes until `until_us`, or until a frame leaves.
void stage_wait(struct stage *g, uint64_t until_us, bool until_output);
// Adds a record to the case's input for fuzz_packets: an `enum act` of it, a frame or none.
void stage_record(struct stage *g, unsigned act, const uint8_t *data, uint32_t len);
struct flow *stage_flow_of(struct stage *g, const struct script_packet *seen);
void stage_log(struct stage *g, const char *direction, const uint8_t *data, uint32_t len);

// --- actions.c -----------------------------------------------------------------------------------

// Before the stack is made. 1: taken, 0: no such word, -1: failed.
int action_config(struct stage *g, const char *word, struct text *t);
int action_owner(struct stage *g, struct flow *f, const char *word, struct text *t);
void action_expect(struct stage *g, struct flow *f, struct text *t);
void flow_defaults(struct stage *g, struct flow *f, char name, unsigned family);
