// The table of what watches the server at work: MONITOR, SLOWLOG, LATENCY.
#include "dataplane/commands/families.h"
#include "dataplane/commands/observe.h"
#include "dataplane/commands/tables.h"

#define ASKS_FLAGS (CMD_ADMIN | CMD_LOADING | CMD_STALE)
#define ASKS_CATEGORIES (CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS)

static const struct command latency_subcommands[] = {
    {
        .name = "doctor",
        .arity = 2,
        .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = ASKS_CATEGORIES,
        .route = ROUTE_GATHER,
        .handler = latency_doctor_command,
        .part = latency_part,
        .tips =
            TEXTS("nondeterministic_output", "request_policy:all_nodes", "response_policy:special"),
        .doc = DOC(.summary = "Says what took long, and what to do about it", .since = "2.8.13",
                   .group = "server", .complexity = "O(1)"),
    },
    {
        .name = "graph",
        .arity = 3,
        .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = ASKS_CATEGORIES,
        .route = ROUTE_GATHER,
        .handler = latency_graph_command,
        .part = latency_part,
        .tips =
            TEXTS("nondeterministic_output", "request_policy:all_nodes", "response_policy:special"),
        .doc = DOC(.summary = "Draws the samples of an event", .since = "2.8.13", .group = "server",
                   .complexity = "O(1)", .args = DOC_ARGS({.name = "event", .type = DOC_STRING})),
    },
    {
        .name = "help",
        .arity = 2,
        .flags = CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW,
        .route = ROUTE_HOME,
        .handler = latency_help_command,
        .doc = DOC(.summary = "Lists the subcommands", .since = "2.8.13", .group = "server",
                   .complexity = "O(1)"),
    },
    {
        .name = "histogram",
        .arity = -2,
        .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = ASKS_CATEGORIES,
        .route = ROUTE_GATHER,
        .handler = latency_histogram_command,
        .part = latency_histogram_part,
        .tips =
            TEXTS("nondeterministic_output", "request_policy:all_nodes", "response_policy:special"),
        .doc =
            DOC(.summary = "Tells how long the calls of commands took", .since = "7.0.0",
                .group = "server", .complexity = "O(N) over the commands shown",
                .args = DOC_ARGS(
                    {.name = "command", .type = DOC_STRING, .flags = DOC_OPTIONAL | DOC_MULTIPLE})),
    },
    {
        .name = "history",
        .arity = 3,
        .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = ASKS_CATEGORIES,
        .route = ROUTE_GATHER,
        .handler = latency_history_command,
        .part = latency_part,
        .tips =
            TEXTS("nondeterministic_output", "request_policy:all_nodes", "response_policy:special"),
        .doc = DOC(.summary = "Gives the samples of an event", .since = "2.8.13", .group = "server",
                   .complexity = "O(1)", .args = DOC_ARGS({.name = "event", .type = DOC_STRING})),
    },
    {
        .name = "latest",
        .arity = 2,
        .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = ASKS_CATEGORIES,
        .route = ROUTE_GATHER,
        .handler = latency_latest_command,
        .part = latency_part,
        .tips =
            TEXTS("nondeterministic_output", "request_policy:all_nodes", "response_policy:special"),
        .doc = DOC(.summary = "Gives the last sample of each event, and the worst",
                   .since = "2.8.13", .group = "server", .complexity = "O(1)"),
    },
    {
        .name = "reset",
        .arity = -2,
        .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = ASKS_CATEGORIES,
        .route = ROUTE_GATHER,
        .handler = latency_reset_command,
        .part = latency_reset_part,
        .tips = TEXTS("request_policy:all_nodes", "response_policy:all_succeeded"),
        .doc =
            DOC(.summary = "Forgets the samples of events", .since = "2.8.13", .group = "server",
                .complexity = "O(1)",
                .args = DOC_ARGS(
                    {.name = "event", .type = DOC_STRING, .flags = DOC_OPTIONAL | DOC_MULTIPLE})),
    },
    {.name = NULL},
};

static const struct command slowlog_subcommands[] = {
    {
        .name = "get",
        .arity = -2,
        .flags = ASKS_FLAGS,
        .categories = ASKS_CATEGORIES,
        .route = ROUTE_GATHER,
        .handler = slowlog_get_command,
        .start = slowlog_get_start,
        .part = slowlog_get_part,
        .tips = TEXTS("request_policy:all_nodes", "nondeterministic_output"),
        .doc = DOC(.summary = "Gives the newest entries of the slow log", .since = "2.2.12",
                   .group = "server", .complexity = "O(N) over the entries given",
                   .history = TEXTS("4.0.0", "Entries tell the client's address and name."),
                   .args = DOC_ARGS({.name = "count", .type = DOC_INTEGER, .flags = DOC_OPTIONAL})),
    },
    {
        .name = "help",
        .arity = 2,
        .flags = CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW,
        .route = ROUTE_HOME,
        .handler = slowlog_help_command,
        .doc = DOC(.summary = "Lists the subcommands", .since = "6.2.0", .group = "server",
                   .complexity = "O(1)"),
    },
    {
        .name = "len",
        .arity = 2,
        .flags = ASKS_FLAGS,
        .categories = ASKS_CATEGORIES,
        .route = ROUTE_GATHER,
        .handler = slowlog_len_command,
        .part = slowlog_len_part,
        .tips =
            TEXTS("request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"),
        .doc = DOC(.summary = "Counts the entries of the slow log", .since = "2.2.12",
                   .group = "server", .complexity = "O(1)"),
    },
    {
        .name = "reset",
        .arity = 2,
        .flags = ASKS_FLAGS,
        .categories = ASKS_CATEGORIES,
        .route = ROUTE_GATHER,
        .handler = slowlog_reset_command,
        .part = slowlog_reset_part,
        .tips = TEXTS("request_policy:all_nodes", "response_policy:all_succeeded"),
        .doc = DOC(.summary = "Empties the slow log", .since = "2.2.12", .group = "server",
                   .complexity = "O(N) over its entries"),
    },
    {.name = NULL},
};

const struct command observe_commands[] = {
    {
        .name = "latency",
        .arity = -2,
        .categories = CAT_SLOW,
        .route = ROUTE_HOME,
        .subcommands = latency_subcommands,
        .doc = DOC(.summary = "Container of what concerns latency", .since = "2.8.13",
                   .group = "server", .complexity = "That of the subcommand"),
    },
    {
        .name = "monitor",
        .arity = 1,
        .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = ASKS_CATEGORIES,
        .route = ROUTE_GATHER,
        .handler = monitor_command,
        .start = monitor_start,
        .part = monitor_part,
        .doc = DOC(.summary = "Shows every command of all clients as it runs", .since = "1.0.0",
                   .group = "server"),
    },
    {
        .name = "slowlog",
        .arity = -2,
        .categories = CAT_SLOW,
        .route = ROUTE_HOME,
        .subcommands = slowlog_subcommands,
        .doc = DOC(.summary = "Container of what concerns the slow log", .since = "2.2.12",
                   .group = "server", .complexity = "That of the subcommand"),
    },
    {.name = NULL},
};
