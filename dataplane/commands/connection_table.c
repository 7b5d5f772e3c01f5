// The table of the connection family: AUTH, CLIENT, ECHO, HELLO, PING, QUIT, RESET, SELECT.
#include "dataplane/commands/connection.h"
#include "dataplane/commands/families.h"

static const char *const auth_history[] = {
    "6.0.0",
    "Takes a user and a password.",
    NULL,
};

static const struct doc_arg auth_args[] = {
    {.name = "username", .type = DOC_STRING, .flags = DOC_OPTIONAL, .since = "6.0.0"},
    {.name = "password", .type = DOC_STRING},
    {.name = NULL},
};

static const struct command_doc auth_doc = {
    .summary = "Proves who the client is by password",
    .since = "1.0.0",
    .group = "connection",
    .complexity = "O(N) over the passwords of the user",
    .history = auth_history,
    .args = auth_args,
};

static const struct command_doc client_doc = {
    .summary = "Container of what concerns connections",
    .since = "2.4.0",
    .group = "connection",
    .complexity = "That of the subcommand",
};

static const struct command_doc client_getname_doc = {
    .summary = "Tells the name of this connection",
    .since = "2.6.9",
    .group = "connection",
    .complexity = "O(1)",
};

static const struct command_doc client_help_doc = {
    .summary = "Lists the subcommands",
    .since = "5.0.0",
    .group = "connection",
    .complexity = "O(1)",
};

static const struct command_doc client_id_doc = {
    .summary = "Tells the number of this connection, unique in the life of the server",
    .since = "5.0.0",
    .group = "connection",
    .complexity = "O(1)",
};

static const struct command_doc client_info_doc = {
    .summary = "Describes this connection in one line",
    .since = "6.2.0",
    .group = "connection",
    .complexity = "O(1)",
};

static const char *const client_info_tips[] = {"nondeterministic_output", NULL};

static const char *const client_kill_history[] = {
    "2.8.12", "Takes filters.",
    "2.8.12", "Filter `ID`.",
    "3.2.0",  "`TYPE` knows `master`.",
    "5.0.0",  "`TYPE` calls a `slave` a `replica`; the old word stays.",
    "6.2.0",  "Filter `LADDR`.",
    NULL,
};

static const struct doc_arg client_kill_filter_filters_normal_master_slave_pubsub_args[] = {
    {.name = "normal", .type = DOC_PURE_TOKEN, .token = "NORMAL"},
    {.name = "master", .type = DOC_PURE_TOKEN, .token = "MASTER", .since = "3.2.0"},
    {.name = "slave", .type = DOC_PURE_TOKEN, .token = "SLAVE"},
    {.name = "replica", .type = DOC_PURE_TOKEN, .token = "REPLICA", .since = "5.0.0"},
    {.name = "pubsub", .type = DOC_PURE_TOKEN, .token = "PUBSUB"},
    {.name = NULL},
};

static const struct doc_arg client_kill_filter_filters_args[] = {
    {.name = "client-id",
     .type = DOC_INTEGER,
     .flags = DOC_OPTIONAL,
     .token = "ID",
     .since = "2.8.12"},
    {.name = "normal_master_slave_pubsub",
     .type = DOC_ONEOF,
     .flags = DOC_OPTIONAL,
     .token = "TYPE",
     .since = "2.8.12",
     .args = client_kill_filter_filters_normal_master_slave_pubsub_args},
    {.name = "username", .type = DOC_STRING, .flags = DOC_OPTIONAL, .token = "USER"},
    {.name = "ip:port", .type = DOC_STRING, .flags = DOC_OPTIONAL, .token = "ADDR"},
    {.name = "ip:port",
     .type = DOC_STRING,
     .flags = DOC_OPTIONAL,
     .token = "LADDR",
     .since = "6.2.0"},
    {.name = "yes/no", .type = DOC_STRING, .flags = DOC_OPTIONAL, .token = "SKIPME"},
    {.name = NULL},
};

static const struct doc_arg client_kill_filter_args[] = {
    {.name = "ip:port", .type = DOC_STRING, .deprecated_since = "2.8.12"},
    {.name = "new-format",
     .type = DOC_ONEOF,
     .flags = DOC_MULTIPLE,
     .args = client_kill_filter_filters_args},
    {.name = NULL},
};

static const struct doc_arg client_kill_args[] = {
    {.name = "filter", .type = DOC_ONEOF, .args = client_kill_filter_args},
    {.name = NULL},
};

static const struct command_doc client_kill_doc = {
    .summary = "Closes connections by address, number, type or user",
    .since = "2.4.0",
    .group = "connection",
    .complexity = "O(N) over the connections",
    .history = client_kill_history,
    .args = client_kill_args,
};

static const char *const client_list_history[] = {
    "2.8.12", "Field `id`.",
    "5.0.0",  "Filter `TYPE`.",
    "6.0.0",  "Field `user`.",
    "6.2.0",  "Fields `argv-mem`, `tot-mem`, `laddr`, `redir`; filter `ID`.",
    "7.0.0",  "Fields `resp`, `multi-mem`, `rbs`, `rbp`.",
    "7.0.3",  "Field `ssub`.",
    NULL,
};

static const struct doc_arg client_list_normal_master_replica_pubsub_args[] = {
    {.name = "normal", .type = DOC_PURE_TOKEN, .token = "NORMAL"},
    {.name = "master", .type = DOC_PURE_TOKEN, .token = "MASTER"},
    {.name = "replica", .type = DOC_PURE_TOKEN, .token = "REPLICA"},
    {.name = "pubsub", .type = DOC_PURE_TOKEN, .token = "PUBSUB"},
    {.name = NULL},
};

static const struct doc_arg client_list_id_args[] = {
    {.name = "client-id", .type = DOC_INTEGER, .flags = DOC_MULTIPLE},
    {.name = NULL},
};

static const struct doc_arg client_list_args[] = {
    {.name = "normal_master_replica_pubsub",
     .type = DOC_ONEOF,
     .flags = DOC_OPTIONAL,
     .token = "TYPE",
     .since = "5.0.0",
     .args = client_list_normal_master_replica_pubsub_args},
    {.name = "id",
     .type = DOC_BLOCK,
     .flags = DOC_OPTIONAL,
     .token = "ID",
     .since = "6.2.0",
     .args = client_list_id_args},
    {.name = NULL},
};

static const struct command_doc client_list_doc = {
    .summary = "Describes connections, one line each",
    .since = "2.4.0",
    .group = "connection",
    .complexity = "O(N) over the connections",
    .history = client_list_history,
    .args = client_list_args,
};

static const char *const client_list_tips[] = {"nondeterministic_output", NULL};

static const struct doc_arg client_no_evict_enabled_args[] = {
    {.name = "on", .type = DOC_PURE_TOKEN, .token = "ON"},
    {.name = "off", .type = DOC_PURE_TOKEN, .token = "OFF"},
    {.name = NULL},
};

static const struct doc_arg client_no_evict_args[] = {
    {.name = "enabled", .type = DOC_ONEOF, .args = client_no_evict_enabled_args},
    {.name = NULL},
};

static const struct command_doc client_no_evict_doc = {
    .summary = "Spares this connection when client memory has to be freed",
    .since = "7.0.0",
    .group = "connection",
    .complexity = "O(1)",
    .args = client_no_evict_args,
};

static const struct doc_arg client_no_touch_enabled_args[] = {
    {.name = "on", .type = DOC_PURE_TOKEN, .token = "ON"},
    {.name = "off", .type = DOC_PURE_TOKEN, .token = "OFF"},
    {.name = NULL},
};

static const struct doc_arg client_no_touch_args[] = {
    {.name = "enabled", .type = DOC_ONEOF, .args = client_no_touch_enabled_args},
    {.name = NULL},
};

static const struct command_doc client_no_touch_doc = {
    .summary = "Lets commands of this connection leave the age of keys as it is",
    .since = "7.2.0",
    .group = "connection",
    .complexity = "O(1)",
    .args = client_no_touch_args,
};

static const struct doc_arg client_reply_on_off_skip_args[] = {
    {.name = "on", .type = DOC_PURE_TOKEN, .token = "ON"},
    {.name = "off", .type = DOC_PURE_TOKEN, .token = "OFF"},
    {.name = "skip", .type = DOC_PURE_TOKEN, .token = "SKIP"},
    {.name = NULL},
};

static const struct doc_arg client_reply_args[] = {
    {.name = "on_off_skip", .type = DOC_ONEOF, .args = client_reply_on_off_skip_args},
    {.name = NULL},
};

static const struct command_doc client_reply_doc = {
    .summary = "Turns replies to this connection on or off, or skips one",
    .since = "3.2.0",
    .group = "connection",
    .complexity = "O(1)",
    .args = client_reply_args,
};

static const struct doc_arg client_setinfo_attr_args[] = {
    {.name = "libname", .type = DOC_STRING, .token = "LIB-NAME"},
    {.name = "libver", .type = DOC_STRING, .token = "LIB-VER"},
    {.name = NULL},
};

static const struct doc_arg client_setinfo_args[] = {
    {.name = "attr", .type = DOC_ONEOF, .args = client_setinfo_attr_args},
    {.name = NULL},
};

static const struct command_doc client_setinfo_doc = {
    .summary = "Notes name or version of the library that the client uses",
    .since = "7.2.0",
    .group = "connection",
    .complexity = "O(1)",
    .args = client_setinfo_args,
};

static const struct doc_arg client_setname_args[] = {
    {.name = "connection-name", .type = DOC_STRING},
    {.name = NULL},
};

static const struct command_doc client_setname_doc = {
    .summary = "Names this connection, for people who look at CLIENT LIST",
    .since = "2.6.9",
    .group = "connection",
    .complexity = "O(1)",
    .args = client_setname_args,
};

static const char *const client_pause_history[] = {
    "6.2.0",
    "The mode, so that reading may go on.",
    NULL,
};

static const struct doc_arg client_pause_mode_args[] = {
    {.name = "write", .type = DOC_PURE_TOKEN, .token = "WRITE"},
    {.name = "all", .type = DOC_PURE_TOKEN, .token = "ALL"},
    {.name = NULL},
};

static const struct doc_arg client_pause_args[] = {
    {.name = "timeout", .type = DOC_INTEGER},
    {.name = "mode",
     .type = DOC_ONEOF,
     .flags = DOC_OPTIONAL,
     .since = "6.2.0",
     .args = client_pause_mode_args},
    {.name = NULL},
};

static const struct command_doc client_pause_doc = {
    .summary = "Lets commands of all connections wait for a while",
    .since = "2.9.50",
    .group = "connection",
    .complexity = "O(1)",
    .history = client_pause_history,
    .args = client_pause_args,
};

static const struct command_doc client_unpause_doc = {
    .summary = "Ends what CLIENT PAUSE began",
    .since = "6.2.0",
    .group = "connection",
    .complexity = "O(N) over the connections that wait",
};

static const struct doc_arg client_unblock_timeout_error_args[] = {
    {.name = "timeout", .type = DOC_PURE_TOKEN, .token = "TIMEOUT"},
    {.name = "error", .type = DOC_PURE_TOKEN, .token = "ERROR"},
    {.name = NULL},
};

static const struct doc_arg client_unblock_args[] = {
    {.name = "client-id", .type = DOC_INTEGER},
    {.name = "timeout_error",
     .type = DOC_ONEOF,
     .flags = DOC_OPTIONAL,
     .args = client_unblock_timeout_error_args},
    {.name = NULL},
};

static const struct command_doc client_unblock_doc = {
    .summary = "Ends the waiting of another connection's command",
    .since = "5.0.0",
    .group = "connection",
    .complexity = "O(N) over the connections",
    .args = client_unblock_args,
};

static const struct doc_arg caching_modes[] = {
    {.name = "yes", .type = DOC_PURE_TOKEN, .token = "YES"},
    {.name = "no", .type = DOC_PURE_TOKEN, .token = "NO"},
    {.name = NULL},
};
static const struct doc_arg client_caching_args[] = {
    {.name = "mode", .type = DOC_ONEOF, .args = caching_modes},
    {.name = NULL},
};
static const struct command_doc client_caching_doc = {
    .summary = "Says whether the keys that the next command reads are kept by the client",
    .since = "6.0.0",
    .group = "connection",
    .complexity = "O(1)",
    .args = client_caching_args,
};

static const struct command_doc client_getredir_doc = {
    .summary = "Tells the client that invalidations of this connection go to",
    .since = "6.0.0",
    .group = "connection",
    .complexity = "O(1)",
};

static const struct doc_arg tracking_states[] = {
    {.name = "on", .type = DOC_PURE_TOKEN, .token = "ON"},
    {.name = "off", .type = DOC_PURE_TOKEN, .token = "OFF"},
    {.name = NULL},
};
static const struct doc_arg client_tracking_args[] = {
    {.name = "status", .type = DOC_ONEOF, .args = tracking_states},
    {.name = "client-id", .type = DOC_INTEGER, .flags = DOC_OPTIONAL, .token = "REDIRECT"},
    {.name = "prefix",
     .type = DOC_STRING,
     .flags = DOC_OPTIONAL | DOC_MULTIPLE | DOC_MULTIPLE_TOKEN,
     .token = "PREFIX"},
    {.name = "bcast", .type = DOC_PURE_TOKEN, .flags = DOC_OPTIONAL, .token = "BCAST"},
    {.name = "optin", .type = DOC_PURE_TOKEN, .flags = DOC_OPTIONAL, .token = "OPTIN"},
    {.name = "optout", .type = DOC_PURE_TOKEN, .flags = DOC_OPTIONAL, .token = "OPTOUT"},
    {.name = "noloop", .type = DOC_PURE_TOKEN, .flags = DOC_OPTIONAL, .token = "NOLOOP"},
    {.name = NULL},
};
static const struct command_doc client_tracking_doc = {
    .summary = "Tells this connection of changes to keys that it has read, or that have a prefix",
    .since = "6.0.0",
    .group = "connection",
    .complexity = "O(1), and O(P) for P prefixes",
    .args = client_tracking_args,
};

static const struct command_doc client_trackinginfo_doc = {
    .summary = "How this connection is told of changes to keys that it holds",
    .since = "6.2.0",
    .group = "connection",
    .complexity = "O(1), and O(P) for P prefixes",
};

static const struct command client_subcommands[] = {
    {
        .name = "caching",
        .arity = 3,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .doc = &client_caching_doc,
        .handler = client_caching_command,
    },
    {
        .name = "getname",
        .arity = 2,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .doc = &client_getname_doc,
        .handler = client_getname_command,
    },
    {
        .name = "getredir",
        .arity = 2,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .doc = &client_getredir_doc,
        .handler = client_getredir_command,
    },
    {
        .name = "help",
        .arity = 2,
        .flags = CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .doc = &client_help_doc,
        .handler = client_help_command,
    },
    {
        .name = "id",
        .arity = 2,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .doc = &client_id_doc,
        .handler = client_id_command,
    },
    {
        .name = "info",
        .arity = 2,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .tips = client_info_tips,
        .doc = &client_info_doc,
        .handler = client_info_command,
    },
    {
        .name = "kill",
        .arity = -3,
        .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS | CAT_CONNECTION,
        .route = ROUTE_GATHER,
        .doc = &client_kill_doc,
        .handler = client_kill_command,
        .part = client_kill_part,
        .start = client_kill_start,
    },
    {
        .name = "list",
        .arity = -2,
        .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS | CAT_CONNECTION,
        .route = ROUTE_GATHER,
        .tips = client_list_tips,
        .doc = &client_list_doc,
        .handler = client_list_command,
        .part = client_list_part,
        .start = client_list_start,
    },
    {
        .name = "no-evict",
        .arity = 3,
        .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .doc = &client_no_evict_doc,
        .handler = client_no_evict_command,
    },
    {
        .name = "no-touch",
        .arity = 3,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .doc = &client_no_touch_doc,
        .handler = client_no_touch_command,
    },
    {
        .name = "reply",
        .arity = 3,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .doc = &client_reply_doc,
        .handler = client_reply_command,
    },
    {
        .name = "setinfo",
        .arity = 4,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .doc = &client_setinfo_doc,
        .handler = client_setinfo_command,
    },
    {
        .name = "setname",
        .arity = 3,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .doc = &client_setname_doc,
        .handler = client_setname_command,
    },
    {
        .name = "tracking",
        .arity = -3,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW | CAT_CONNECTION,
        .route = ROUTE_GATHER,
        .doc = &client_tracking_doc,
        .start = client_tracking_start,
        .part = client_tracking_part,
        .takes_back = true,
        .handler = client_tracking_command,
    },
    {
        .name = "trackinginfo",
        .arity = 2,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .doc = &client_trackinginfo_doc,
        .handler = client_trackinginfo_command,
    },
    {
        .name = "pause",
        .arity = -3,
        .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS | CAT_CONNECTION,
        .route = ROUTE_GATHER,
        .doc = &client_pause_doc,
        .start = client_pause_start,
        .part = client_pause_part,
        .handler = client_pause_command,
    },
    {
        .name = "unpause",
        .arity = 2,
        .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS | CAT_CONNECTION,
        .route = ROUTE_GATHER,
        .doc = &client_unpause_doc,
        .start = client_unpause_start,
        .part = client_pause_part,
        .handler = client_pause_command,
    },
    {
        .name = "unblock",
        .arity = -3,
        .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS | CAT_CONNECTION,
        .route = ROUTE_GATHER,
        .doc = &client_unblock_doc,
        .start = client_unblock_start,
        .part = client_unblock_part,
        .handler = client_unblock_command,
    },
    {.name = NULL},
};

static const struct doc_arg echo_args[] = {
    {.name = "message", .type = DOC_STRING},
    {.name = NULL},
};

static const struct command_doc echo_doc = {
    .summary = "Gives back its argument",
    .since = "1.0.0",
    .group = "connection",
    .complexity = "O(1)",
    .args = echo_args,
};

static const char *const hello_history[] = {
    "6.2.0",
    "The version may be left out; then nothing changes.",
    NULL,
};

static const struct doc_arg hello_arguments_username_password_args[] = {
    {.name = "username", .type = DOC_STRING},
    {.name = "password", .type = DOC_STRING},
    {.name = NULL},
};

static const struct doc_arg hello_arguments_args[] = {
    {.name = "protover", .type = DOC_INTEGER},
    {.name = "username_password",
     .type = DOC_BLOCK,
     .flags = DOC_OPTIONAL,
     .token = "AUTH",
     .args = hello_arguments_username_password_args},
    {.name = "clientname", .type = DOC_STRING, .flags = DOC_OPTIONAL, .token = "SETNAME"},
    {.name = NULL},
};

static const struct doc_arg hello_args[] = {
    {.name = "arguments", .type = DOC_BLOCK, .flags = DOC_OPTIONAL, .args = hello_arguments_args},
    {.name = NULL},
};

static const struct command_doc hello_doc = {
    .summary = "Chooses the protocol version, and tells about the server",
    .since = "6.0.0",
    .group = "connection",
    .complexity = "O(1)",
    .history = hello_history,
    .args = hello_args,
};

static const struct doc_arg ping_args[] = {
    {.name = "message", .type = DOC_STRING, .flags = DOC_OPTIONAL},
    {.name = NULL},
};

static const struct command_doc ping_doc = {
    .summary = "Answers, to show that the connection lives",
    .since = "1.0.0",
    .group = "connection",
    .complexity = "O(1)",
    .args = ping_args,
};

static const char *const ping_tips[] = {"request_policy:all_shards",
                                        "response_policy:all_succeeded", NULL};

static const struct command_doc quit_doc = {
    .summary = "Closes the connection after its replies",
    .since = "1.0.0",
    .group = "connection",
    .complexity = "O(1)",
};

static const struct command_doc reset_doc = {
    .summary = "Puts the connection back into the state of a fresh one",
    .since = "6.2.0",
    .group = "connection",
    .complexity = "O(1)",
};

static const struct doc_arg select_args[] = {
    {.name = "index", .type = DOC_INTEGER},
    {.name = NULL},
};

static const struct command_doc select_doc = {
    .summary = "Chooses the database that later commands work on",
    .since = "1.0.0",
    .group = "connection",
    .complexity = "O(1)",
    .args = select_args,
};

const struct command connection_commands[] = {
    {
        .name = "auth",
        .arity = -2,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY,
        .categories = CAT_FAST | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .doc = &auth_doc,
        .handler = auth_command,
    },
    {
        .name = "client",
        .arity = -2,
        .categories = CAT_SLOW,
        .route = ROUTE_HOME,
        .doc = &client_doc,
        .subcommands = client_subcommands,
    },
    {
        .name = "echo",
        .arity = 2,
        .flags = CMD_LOADING | CMD_STALE | CMD_FAST,
        .categories = CAT_FAST | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .doc = &echo_doc,
        .handler = echo_command,
    },
    {
        .name = "hello",
        .arity = -1,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY,
        .categories = CAT_FAST | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .doc = &hello_doc,
        .handler = hello_command,
    },
    {
        .name = "ping",
        .arity = -1,
        .flags = CMD_FAST,
        .categories = CAT_FAST | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .tips = ping_tips,
        .doc = &ping_doc,
        .handler = ping_command,
    },
    {
        .name = "quit",
        .arity = -1,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY,
        .categories = CAT_FAST | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .doc = &quit_doc,
        .handler = quit_command,
    },
    {
        .name = "reset",
        .arity = 1,
        .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY,
        .categories = CAT_FAST | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .doc = &reset_doc,
        .handler = reset_command,
    },
    {
        .name = "select",
        .arity = 2,
        .flags = CMD_LOADING | CMD_STALE | CMD_FAST,
        .categories = CAT_FAST | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .doc = &select_doc,
        .handler = select_command,
    },
    {.name = NULL},
};
