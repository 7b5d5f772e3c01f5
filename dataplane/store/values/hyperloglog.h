// HyperLogLog: how many different elements were seen, estimated from 16,384 registers. It lives in
// a string, in Redis's bytes: a header (magic, encoding, the estimate kept from last time) and the
// registers, dense with 6 bits each, or sparse as a sequence of runs. What a client wrote into the
// string may be anything, so every function here that reads one takes its length and stays within.
//
// The estimate is the improved one of Otmar Ertl, "New cardinality estimation algorithms for
// HyperLogLog sketches" (2017), from the histogram of the registers alone.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HLL_REGISTERS 16384
#define HLL_HEADER_BYTES 16
#define HLL_DENSE_BYTES (HLL_HEADER_BYTES + HLL_REGISTERS * 6 / 8)
#define HLL_ESTIMATE_OFFSET 8 // of the 8 bytes that keep it, in the header
// The highest byte of the estimate, and its bit that is set while the estimate is out of date.
#define HLL_OUTDATED_OFFSET 15
#define HLL_OUTDATED 0x80

// True when the bytes have a header that makes sense, and a dense one its length.
bool hll_is(const uint8_t *bytes, size_t len);
bool hll_is_dense(const uint8_t *bytes); // of what hll_is accepted, as all below

// What an element says: the register, and the least value (1 … 51) it must have.
struct hll_mark {
    uint32_t index;
    uint8_t value;
};
struct hll_mark hll_mark(const void *element, size_t len);

// The estimate that is kept. False: it is out of date.
bool hll_kept(const uint8_t *bytes, uint64_t *estimate);
void hll_keep(uint8_t kept[8], uint64_t estimate); // writes those 8 bytes
// False: the runs do not make up the registers.
bool hll_estimate(const uint8_t *bytes, size_t len, uint64_t *estimate);
uint64_t hll_estimate_registers(const uint8_t registers[HLL_REGISTERS]); // one byte each
// Raises registers to those of the string. False as above; some may have been raised then.
bool hll_merge(uint8_t registers[HLL_REGISTERS], const uint8_t *bytes, size_t len);

uint8_t hll_dense_get(const uint8_t *bytes, uint32_t index);
// The bytes that hold a register, with another value of it. Returns their offset in the string,
// `*n` (1 or 2) becomes their number.
size_t hll_dense_patch(const uint8_t *bytes, struct hll_mark mark, uint8_t patch[2], unsigned *n);

// --- changing -----------------------------------------------------------------------------------

// A HyperLogLog being changed: bytes of its own, from mimalloc.
struct hll {
    uint8_t *bytes;
    size_t len, room;
};
enum hll_result { HLL_SAME, HLL_CHANGED, HLL_CORRUPT, HLL_NO_MEMORY };

// False: memory is short.
bool hll_open(struct hll *h, const uint8_t *bytes, size_t len); // a copy of these
bool hll_open_empty(struct hll *h);                             // sparse
void hll_close(struct hll *h);

// A place among the runs, from which the search for a higher index may go on.
struct hll_place {
    size_t offset;  // in the string; 0: none yet
    uint32_t first; // index of the run's first register
};

// Raises a register to the mark's value. A sparse one becomes dense when it would be longer than
// `sparse_max` bytes, or the value is too high for it. `from` may be NULL; else it must be empty
// ({0}) at first, and the indexes ascend.
enum hll_result hll_raise(struct hll *h, struct hll_mark mark, uint64_t sparse_max,
                          struct hll_place *from);
// The same for all registers, a byte each (0: none). The kept estimate is out of date then.
enum hll_result hll_raise_all(struct hll *h, const uint8_t registers[HLL_REGISTERS],
                              uint64_t sparse_max);
enum hll_result hll_make_dense(struct hll *h);
void hll_outdate(struct hll *h); // the estimate that is kept

// --- runs ---------------------------------------------------------------------------------------

// One run of a sparse HyperLogLog.
struct hll_run {
    uint8_t value;   // 0: zeros
    uint32_t length; // registers
    unsigned bytes;  // 1 or 2; of a run that is cut off by the end, the second counts as zero
};
// The run at `offset` of the string, which is below `len`.
struct hll_run hll_run(const uint8_t *bytes, size_t len, size_t offset);
