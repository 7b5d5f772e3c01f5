// The stages: what each prepares, what it measures, how it knows that the work was done.
#pragma once

#include "bench/micro/joint.h"
#include "bench/micro/measure.h"
#include "bench/micro/rig.h"

#define STAGE_NAME_MAX 32
#define STAGES_ALL_MAX 128
#define STAGE_SIZES_MAX 4

enum stage_needs {
    NEEDS_NOTHING,
    NEEDS_WIRE,     // two stacks
    NEEDS_TABLE,    // keys: it is run once for each size of the table
    NEEDS_REQUESTS, // both: whole requests
    NEEDS_VALUES,   // keys of a type of its own
};

struct bench {
    struct rig *rig;
    bool offloads; // the port of NEEDS_WIRE and NEEDS_REQUESTS does the checksums
    void *state;   // of the stage, from its `open` to its `close`
};

struct stage;
struct stage_kind {
    const char *name, *unit, *help;
    enum stage_needs needs;
    unsigned sizes[STAGE_SIZES_MAX + 1]; // requests in a frame, commands in a batch; ends with 0
    // What lasts over all rounds. NULL: nothing. False: memory is short, or as the rig's error
    // says.
    bool (*open)(struct bench *b, const struct stage *s);
    void (*close)(struct bench *b);
    // One round: prepares, measures a section or several, looks at what came of it. Short enough
    // that few rounds are interrupted. False: something is wrong, as the rig's error says.
    bool (*round)(struct bench *b, const struct stage *s, struct measure *m);
    const char *const *fill; // NEEDS_VALUES: commands for each key; ends with NULL
    const char *command, *undo;
    enum key_choice choice; // of the command
    char reply;             // the first byte of what answers
};

struct stage {
    char name[STAGE_NAME_MAX];
    const struct stage_kind *kind;
    unsigned size;
};

// All of them, in the order in which they run. Returns how many.
unsigned stages_all(struct stage *stages);

// --- by file
extern const struct stage_kind parse_kinds[], wire_kinds[], table_kinds[], value_kinds[],
    request_kinds[]; // end with a name NULL

// Rounds of a stage that executes `command` (stages_values.c): the second half of the core's batch,
// or its first half.
bool execute_round(struct bench *b, const struct stage *s, struct measure *m);
bool execute_gather_round(struct bench *b, const struct stage *s, struct measure *m);

// Where the cycles of a request go in the server's turn, in its order (stages_requests.c).
enum turn_part {
    TURN_FRAMES_IN, // the stack takes the burst
    TURN_READY,     // streams with news are put in line
    TURN_PARSE,     // parsed, hashed, slots and buckets fetched
    TURN_EXECUTE,   // looked up, executed, answered into the frame
    TURN_PUSH,      // what was written becomes segments
    TURN_FRAMES_OUT,
    TURN_STORE, // its background work
    TURN_PARTS
};
extern const char *const turn_part_names[TURN_PARTS];

struct request_figures {
    uint64_t requests, frames_in, frames_out, batches;
    double part[TURN_PARTS]; // cycles a request, median of rounds
};
// Of the stage that was run last.
const struct request_figures *request_figures(void);
