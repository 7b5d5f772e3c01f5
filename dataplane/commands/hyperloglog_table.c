// The table of hyperloglog commands. Figures are those of COMMAND INFO and COMMAND DOCS of
// Redis 7.0.15.
#include "dataplane/commands/hyperloglog_commands.h"
#include "dataplane/commands/tables.h"

const struct command hyperloglog_commands[] = {
    {
        .name = "pfadd",
        .arity = -2,
        .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
        .categories = CAT_WRITE | CAT_HYPERLOGLOG | CAT_FAST,
        .route = ROUTE_KEYS,
        .keys = (const struct keyspec[]){{KEYS_FROM(1, 0, 1), .flags = KS_RW | KS_INSERT}},
        .n_keys = 1,
        .handler = pfadd_command,
        .doc = DOC(.summary = "Adds elements to a HyperLogLog; makes the key where there is none.",
                   .since = "2.8.9", .group = "hyperloglog", .complexity = "O(1) for each element",
                   .args = DOC_ARGS(ARG_KEY, {.name = "element",
                                              .type = DOC_STRING,
                                              .flags = DOC_OPTIONAL | DOC_MULTIPLE})),
    },
    {
        .name = "pfcount",
        .arity = -2,
        .flags = CMD_READONLY | CMD_MAY_REPLICATE,
        .categories = CAT_READ | CAT_HYPERLOGLOG | CAT_SLOW,
        .route = ROUTE_KEYS,
        .keys =
            (const struct keyspec[]){
                {.notes = "Counts as a change: it may renew the estimate that the key keeps",
                 KEYS_FROM(1, -1, 1),
                 .flags = KS_RW | KS_ACCESS}},
        .n_keys = 1,
        .handler = pfcount_command,
        .doc = DOC(.summary = "Estimates how many different elements one or more HyperLogLogs have "
                              "seen together.",
                   .since = "2.8.9", .group = "hyperloglog",
                   .complexity = "O(1) for one key, most often a number that is kept; O(N) for N "
                                 "keys, each of which is read whole",
                   .args = DOC_ARGS(ARG_KEYS)),
    },
    {
        .name = "pfdebug",
        .arity = 3,
        .flags = CMD_WRITE | CMD_DENYOOM | CMD_ADMIN,
        .categories = CAT_WRITE | CAT_HYPERLOGLOG | CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
        .route = ROUTE_KEYS,
        .keys = (const struct keyspec[]){{KEYS_FROM(2, 0, 1), .flags = KS_RW | KS_ACCESS}},
        .n_keys = 1,
        .handler = pfdebug_command,
        .doc = DOC(.summary = "Shows the inside of a HyperLogLog, or makes it dense.",
                   .since = "2.8.9", .group = "hyperloglog",
                   .complexity = "O(1): a HyperLogLog has a fixed number of registers",
                   .args = DOC_ARGS({.name = "subcommand", .type = DOC_STRING}, ARG_KEY),
                   .syscmd = true),
    },
    {
        .name = "pfmerge",
        .arity = -2,
        .flags = CMD_WRITE | CMD_DENYOOM,
        .categories = CAT_WRITE | CAT_HYPERLOGLOG | CAT_SLOW,
        .route = ROUTE_KEYS,
        .keys =
            (const struct keyspec[]){{KEYS_FROM(1, 0, 1), .flags = KS_RW | KS_ACCESS | KS_INSERT},
                                     {KEYS_FROM(2, -1, 1), .flags = KS_RO | KS_ACCESS}},
        .n_keys = 2,
        .handler = pfmerge_command,
        .doc =
            DOC(.summary = "Joins HyperLogLogs into one.", .since = "2.8.9", .group = "hyperloglog",
                .complexity = "O(N), N: keys, each of which is read whole",
                .args = DOC_ARGS(
                    {.name = "destkey", .type = DOC_KEY},
                    {.name = "sourcekey", .type = DOC_KEY, .flags = DOC_MULTIPLE, .key_spec = 1})),
    },
    {
        .name = "pfselftest",
        .arity = 1,
        .flags = CMD_ADMIN,
        .categories = CAT_HYPERLOGLOG | CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
        .route = ROUTE_KEYS,
        .handler = pfselftest_command,
        .doc = DOC(.summary = "Tests the registers and the estimates of HyperLogLogs.",
                   .since = "2.8.9", .group = "hyperloglog",
                   .complexity = "O(1): a fixed amount of work, a long one", .syscmd = true),
    },
    {.name = NULL},
};
