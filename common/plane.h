// The contract between the two planes: one shared-memory segment, one message channel per core.
//
// The segment is a file in the run directory (tmpfs where there is one), named by the server's
// port:
//   RUNDIR/PORT.segment   this layout        RUNDIR/PORT.control   the control plane's socket
//   (RESP) RUNDIR/PORT.attach    the data plane's socket: descriptors of wake-up events are passed
//   there
// Whoever comes first creates it; either plane may die and come back at any moment and finds the
// segment as it was. A field has one writer, named beside it; readers on the other side see it
// through relaxed or acquire loads. Nothing here is trusted by the reader to be within bounds.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLANE_MAGIC 0x504c5831u // "PLX1"
#define PLANE_VERSION 4u
#define PLANE_CORES_MAX 64
#define PLANE_RING_BYTES (256u * 1024) // per direction and core
#define PLANE_STAGES 8
#define PLANE_MESSAGE_MAX (64u * 1024) // larger ones are cut into parts (PLANE_MORE)
#define PLANE_SEND_MAX \
    (PLANE_RING_BYTES / 2) // longest payload of plane_send; else plane_send_parts

enum plane_stage { // where the cycles of a turn go
    STAGE_RECEIVE,
    STAGE_MAILBOX,
    STAGE_PARSE,
    STAGE_EXECUTE,
    STAGE_REPLY,
    STAGE_TIMERS,
    STAGE_TRANSMIT,
    STAGE_IDLE,
};

// Written by the polling core once per interval (100 ms), the heartbeat each turn.
struct plane_core {
    _Alignas(64) _Atomic uint64_t heartbeat_us; // CLOCK_MONOTONIC
    _Atomic uint64_t turns;
    _Atomic uint64_t generation;      // of the data plane that writes here
    _Alignas(64) _Atomic int32_t cpu; // pinned to; -1: not pinned
    _Atomic int32_t thread_id;
    _Atomic uint64_t cycles_per_second;
    _Atomic uint64_t busy_cycles, idle_cycles, stage_cycles[PLANE_STAGES];
    _Atomic uint64_t commands, errors, connections_received, connections_rejected;
    _Atomic uint64_t clients, bytes_in, bytes_out;
    // Of the slots that the core owns and has not lent at the moment: keys, and bytes of their
    // tables and values. The sums of the process stand in the segment.
    _Atomic uint64_t keys, memory_used;
    _Atomic uint64_t hits, misses, expired, evicted;
    _Atomic uint64_t forwarded, borrows, gathers, mailbox_full;
    _Atomic uint64_t sleeps, wakes;
    // Interval figures for `polluxctl status`: commands of the last full second.
    _Atomic uint64_t ops_per_second;
};

// The lease (design section 10): written by the control plane, obeyed by the data plane in cluster
// mode. Outside cluster mode `until_us` is UINT64_MAX.
struct plane_lease {
    _Alignas(64) _Atomic uint64_t until_us; // CLOCK_BOOTTIME
    _Atomic uint64_t generation;            // of the control plane that gave it
    _Atomic uint32_t revoked;
};

// A single-producer single-consumer ring of bytes. Messages are 8-byte aligned, header first, and
// never wrap: the producer pads.
struct plane_ring {
    _Alignas(64) _Atomic uint64_t head; // producer: bytes ever written
    _Atomic uint64_t dropped;
    _Alignas(64) _Atomic uint64_t tail; // consumer: bytes ever read
    _Atomic uint64_t resets;            // consumer: how often it found garbage and emptied the ring
    uint32_t shown;                     // consumer: bytes of the message that plane_receive showed
    _Alignas(64) uint8_t bytes[PLANE_RING_BYTES];
};

enum plane_message_kind {
    PLANE_PAD,
    PLANE_EXECUTE, // to core: a command in RESP, run as an internal client of full rights
    PLANE_REPLY,   // to control: its reply in RESP (RESP3)
    // What operators ask. Names travel with the values, so that a plane of another build shows what
    // it is told: rows say their layout (struct plane_rows), everything else is a map in RESP3.
    PLANE_CONNECTIONS, // to core: struct plane_question; reply: struct plane_rows
    PLANE_NIC,         // to core: u32, 1: with descriptions; reply: a map
    PLANE_NEIGHBOURS,  // to core: none; reply: an array of maps
    PLANE_CAPTURE,     // to core: struct plane_capture and a filter; reply: a map
    PLANE_CAPTURE_END, // to core: none; reply: a map
    PLANE_PING,        // to core: struct plane_ping; reply: a map
    PLANE_ERROR,       // to control: text
};

enum plane_message_flags { PLANE_MORE = 1u << 0 }; // another part of the same message follows

struct plane_message {
    uint32_t size; // header included, before alignment
    uint16_t kind;
    uint16_t flags;
    uint64_t request;    // the asker's number, returned with the reply
    uint64_t generation; // of the asker; a reply to an older control plane is ignored
};

struct plane_channel {
    struct plane_ring to_core, to_control;
    _Alignas(64) _Atomic uint32_t control_sleeps; // consumer flags: wake needed (eventfd)
    _Alignas(64) _Atomic uint32_t core_sleeps;
};

struct plane_segment {
    _Atomic uint32_t magic; // stored last by the creator
    uint32_t version;
    uint64_t size;
    // Data plane.
    _Alignas(64) _Atomic uint64_t data_generation; // grows with each start
    _Atomic int32_t data_pid;
    _Atomic uint32_t cores;
    _Atomic uint32_t data_ready; // 1 when all cores serve
    _Atomic uint64_t data_started_ms;
    _Atomic uint64_t maxmemory, memory_resident;
    _Atomic uint64_t keys, memory_used; // of all cores, every 100 ms
    char transport[16], device[64], version_text[16];
    uint16_t port;
    // What it crashed of, where it could say so: 0: it did not. Command "": none was running.
    _Atomic int32_t crash_signal, crash_core; // core -1: another thread
    char crash_command[32];
    // Control plane.
    _Alignas(64) _Atomic uint64_t control_generation;
    _Atomic int32_t control_pid;
    _Atomic uint64_t control_heartbeat_us;
    _Atomic uint64_t control_started_ms;
    struct plane_lease lease;
    // Which slots belong to which core; written by the data plane.
    _Alignas(64) _Atomic uint8_t slot_core[16384];
    struct plane_core core[PLANE_CORES_MAX];
    struct plane_channel channel[PLANE_CORES_MAX];
};

// Which connections, from where on: a core looks at a bounded number of them for one question.
struct plane_question {
    uint64_t cursor;                    // 0: from the beginning
    uint32_t max;                       // rows; at least 1
    uint16_t local_port, remote_port;   // 0: any
    char states[118];                   // names with a comma between them; "": any
    uint8_t family, prefix, remote[16]; // addresses of the peer; family 0: any
};
// The answer: this, then `layout_size` bytes of text, a line for each field ("name type offset\n"),
// then `rows` rows of `row_size` bytes. Types: uN (N bits), b (a byte, 0 or not), sN (text of at
// most N bytes), e (struct endpoint).
struct plane_rows {
    uint64_t next; // the next question's cursor; 0: that was all
    uint64_t looked_at;
    uint32_t rows, row_size, layout_size, reserved;
};

#define PLANE_CAPTURE_PATH 400
// Begin to capture; the filter's instructions (classic BPF, 8 bytes each) follow.
struct plane_capture {
    uint32_t snaplen, reserved;
    char path[PLANE_CAPTURE_PATH]; // of the ring (common/capture.h)
};

struct plane_ping {
    uint8_t family, address[16];
    uint8_t reserved;
    uint16_t seq;
    uint32_t size; // of the payload
    uint32_t timeout_us;
};

// --- the segment (plane.c) -----------------------------------------------------------------------

// The run directory in force: `configured` unless empty, else /run/pollux for root, else
// $XDG_RUNTIME_DIR/pollux, else /tmp/pollux-UID. Made with mode 0700 when missing. 0 or -errno.
int plane_run_directory(const char *configured, char *path, size_t size);
// The same name, and nothing is made: for tools that look. 0 or -errno.
int plane_run_directory_name(const char *configured, char *path, size_t size);
// RUNDIR/PORT.suffix
void plane_path(const char *run_directory, unsigned port, const char *suffix, char *path,
                size_t size);
// Maps the segment, creating it when there is none or when it has another version or size and
// nobody holds it. NULL with one line in `error`.
struct plane_segment *plane_open(const char *path, char *error, size_t error_size);
void plane_close(struct plane_segment *segment);
// Backs the channels of this many cores with memory, so that a full tmpfs is an error at start and
// not SIGBUS later. The data plane calls it once. 0 or -errno.
int plane_reserve(struct plane_segment *segment, unsigned cores);
// Takes the lock of one side ("data", "control", or "server" for the supervisor) for the life of
// the process: two data planes on one port are refused with the pid of the other. Returns a
// descriptor to keep, or -errno.
int plane_lock(const char *run_directory, unsigned port, const char *side, char *error,
               size_t error_size);
// Removes the lock's file and gives the lock back (the end of the process gives it back too).
void plane_unlock(const char *run_directory, unsigned port, const char *side, int fd);
// plane_unlock for a plane that ends in order: when nobody else of this server is there, the
// segment goes too.
void plane_leave(const char *run_directory, unsigned port, const char *side, int fd);

// Of a data plane that has crashed: " (signal 11 on core 0, in GET: see its report in the log)";
// "" of one that has not, or could not tell. Returns `text`.
#define PLANE_CRASH_TEXT_MAX 128
const char *plane_crash_text(const struct plane_segment *segment, char *text);

// --- channels (plane.c); one producer, one consumer per ring -----------------------------------

// Appends a message (in parts when it is long). false: no room now, nothing was written; or it is
// longer than PLANE_SEND_MAX and never fits.
bool plane_send(struct plane_ring *ring, enum plane_message_kind kind, uint64_t request,
                uint64_t generation, const void *data, size_t len);
// Appends a message of any length as room comes: sends parts from *offset (0 at first), moves it
// on, and returns true when the last part is in. Called again, with the same arguments, until it
// is; nothing else is sent on the ring meanwhile.
bool plane_send_parts(struct plane_ring *ring, enum plane_message_kind kind, uint64_t request,
                      uint64_t generation, const void *data, size_t len, size_t *offset);
// The oldest message, in place, or NULL; `data` is the payload. Malformed content resets the ring.
const struct plane_message *plane_receive(struct plane_ring *ring, const uint8_t **data,
                                          size_t *len);
void plane_received(struct plane_ring *ring); // done with it
// Consumer: forgets all that is in the ring. A plane that starts does this with the rings it reads,
// so that it does not act on what was asked of its predecessor.
void plane_discard(struct plane_ring *ring);

// --- attaching (plane_attach.c) ------------------------------------------------------------------
//
// RUNDIR/PORT.attach is a SOCK_SEQPACKET socket that the data plane serves. Each side sends one
// greeting with descriptors (SCM_RIGHTS): the data plane the events that wake its cores, in their
// order; the control plane the one that wakes it. The connection then stays open without a byte:
// its end is the end of the other side.

// Listens; an old socket file is replaced (the caller holds the lock of its side). Descriptor or
// -errno.
int plane_attach_listen(const char *run_directory, unsigned port, char *error, size_t error_size);
// Connects without blocking. Descriptor, or -errno (-ENOENT, -ECONNREFUSED: nobody is there).
int plane_attach_connect(const char *run_directory, unsigned port);
// Sends the greeting of this side. 0 or -errno.
int plane_attach_greet(int socket, uint64_t generation, const int *fds, unsigned n);
// Takes the greeting of the other side: up to `max` descriptors (close-on-exec, non-blocking), more
// are closed. Returns their number, -EAGAIN while it has not come, -ECONNRESET when the other side
// is gone, -EPROTO for anything else than a greeting of this version.
int plane_attach_greeted(int socket, uint64_t *generation, int *fds, unsigned max);
