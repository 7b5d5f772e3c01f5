// The table of the transaction commands.
#include "dataplane/commands/tables.h"
#include "dataplane/commands/transactions_commands.h"

const struct command transactions_commands[] = {
    {
        .name = "discard",
        .arity = 1,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_ALLOW_BUSY,
        .categories = CAT_FAST | CAT_TRANSACTION,
        .route = ROUTE_HOME,
        .handler = discard_command,
        .doc = DOC(.summary = "Gives up the commands kept since MULTI, and all watches",
                   .since = "2.0.0", .group = "transactions",
                   .complexity = "O(N), N being the number of commands kept"),
    },
    {
        .name = "exec",
        .arity = 1,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_SKIP_SLOWLOG,
        .categories = CAT_SLOW | CAT_TRANSACTION,
        .route = ROUTE_HOME,
        .handler = exec_command,
        .doc = DOC(.summary = "Runs the commands kept since MULTI as one, unless a watched key "
                              "has changed",
                   .since = "1.2.0", .group = "transactions", .complexity = "That of the commands"),
    },
    {
        .name = "multi",
        .arity = 1,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_ALLOW_BUSY,
        .categories = CAT_FAST | CAT_TRANSACTION,
        .route = ROUTE_HOME,
        .handler = multi_command,
        .doc = DOC(.summary = "Keeps what follows for EXEC", .since = "1.2.0",
                   .group = "transactions", .complexity = "O(1)"),
    },
    {
        .name = "unwatch",
        .arity = 1,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_ALLOW_BUSY,
        .categories = CAT_FAST | CAT_TRANSACTION,
        .route = ROUTE_HOME,
        .handler = unwatch_command,
        .doc = DOC(.summary = "Gives up all watches of the connection", .since = "2.2.0",
                   .group = "transactions", .complexity = "O(1)"),
    },
    {
        .name = "watch",
        .arity = -2,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_ALLOW_BUSY,
        .categories = CAT_FAST | CAT_TRANSACTION,
        .route = ROUTE_HELD,
        .keys = (const struct keyspec[]){{KEYS_FROM(1, -1, 1), .flags = KS_RO}},
        .n_keys = 1,
        .handler = watch_command,
        .doc = DOC(.summary = "Makes the next EXEC depend on keys not changing until then",
                   .since = "2.2.0", .group = "transactions", .complexity = "O(1) for each key",
                   .args = DOC_ARGS(ARG_KEYS)),
    },
    {.name = NULL},
};
