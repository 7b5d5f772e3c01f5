// The table of the server family: COMMAND, CONFIG, DEBUG, INFO, LOLWUT, MEMORY, SHUTDOWN, TIME.
#include "dataplane/commands/families.h"
#include "dataplane/commands/server.h"
#include "dataplane/commands/tables.h"

static const struct command_doc command_doc = {
    .summary = "Describes all commands",
    .since = "2.8.13",
    .group = "server",
    .complexity = "O(N) over all commands",
};

static const struct command_doc command_count_doc = {
    .summary = "Counts the commands",
    .since = "2.8.13",
    .group = "server",
    .complexity = "O(1)",
};

static const struct doc_arg command_docs_args[] = {
    {.name = "command-name", .type = DOC_STRING, .flags = DOC_OPTIONAL | DOC_MULTIPLE},
    {.name = NULL},
};

static const struct command_doc command_docs_doc = {
    .summary = "Gives the documentation of commands",
    .since = "7.0.0",
    .group = "server",
    .complexity = "O(N) over the commands asked for",
    .args = command_docs_args,
};

static const char *const command_docs_tips[] = {"nondeterministic_output_order", NULL};

static const struct command_doc command_getkeys_doc = {
    .summary = "Finds the keys among the arguments of a command",
    .since = "2.8.13",
    .group = "server",
    .complexity = "O(N) over the arguments",
};

static const struct command_doc command_getkeysandflags_doc = {
    .summary = "Finds the keys among the arguments of a command, and what it does to each",
    .since = "7.0.0",
    .group = "server",
    .complexity = "O(N) over the arguments",
};

static const struct command_doc command_help_doc = {
    .summary = "Lists the subcommands",
    .since = "5.0.0",
    .group = "server",
    .complexity = "O(1)",
};

static const char *const command_info_history[] = {
    "7.0.0",
    "Without a name it describes all commands.",
    NULL,
};

static const struct doc_arg command_info_args[] = {
    {.name = "command-name", .type = DOC_STRING, .flags = DOC_OPTIONAL | DOC_MULTIPLE},
    {.name = NULL},
};

static const struct command_doc command_info_doc = {
    .summary = "Gives arity, flags, categories and keys of commands",
    .since = "2.8.13",
    .group = "server",
    .complexity = "O(N) over the commands asked for",
    .history = command_info_history,
    .args = command_info_args,
};

static const char *const command_info_tips[] = {"nondeterministic_output_order", NULL};

static const struct doc_arg command_list_filterby_args[] = {
    {.name = "module-name", .type = DOC_STRING, .token = "MODULE"},
    {.name = "category", .type = DOC_STRING, .token = "ACLCAT"},
    {.name = "pattern", .type = DOC_PATTERN, .token = "PATTERN"},
    {.name = NULL},
};

static const struct doc_arg command_list_args[] = {
    {.name = "filterby",
     .type = DOC_ONEOF,
     .flags = DOC_OPTIONAL,
     .token = "FILTERBY",
     .args = command_list_filterby_args},
    {.name = NULL},
};

static const struct command_doc command_list_doc = {
    .summary = "Lists the names of commands, all or filtered",
    .since = "7.0.0",
    .group = "server",
    .complexity = "O(N) over all commands",
    .args = command_list_args,
};

static const char *const command_list_tips[] = {"nondeterministic_output_order", NULL};

static const struct command command_subcommands[] = {
    {
        .name = "count",
        .arity = 2,
        .flags = CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .doc = &command_count_doc,
        .handler = command_count_command,
    },
    {
        .name = "docs",
        .arity = -2,
        .flags = CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .tips = command_docs_tips,
        .doc = &command_docs_doc,
        .handler = command_docs_command,
    },
    {
        .name = "getkeys",
        .arity = -4,
        .flags = CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .doc = &command_getkeys_doc,
        .handler = command_getkeys_command,
    },
    {
        .name = "getkeysandflags",
        .arity = -4,
        .flags = CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .doc = &command_getkeysandflags_doc,
        .handler = command_getkeysandflags_command,
    },
    {
        .name = "help",
        .arity = 2,
        .flags = CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .doc = &command_help_doc,
        .handler = command_help_command,
    },
    {
        .name = "info",
        .arity = -2,
        .flags = CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .tips = command_info_tips,
        .doc = &command_info_doc,
        .handler = command_info_command,
    },
    {
        .name = "list",
        .arity = -2,
        .flags = CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .tips = command_list_tips,
        .doc = &command_list_doc,
        .handler = command_list_command,
    },
    {.name = NULL},
};

static const char *const command_tips[] = {"nondeterministic_output_order", NULL};

static const struct command_doc config_doc = {
    .summary = "Container of what concerns the configuration",
    .since = "2.0.0",
    .group = "server",
    .complexity = "That of the subcommand",
};

static const char *const config_get_history[] = {
    "7.0.0",
    "Takes several patterns.",
    NULL,
};

static const struct doc_arg config_get_parameter_args[] = {
    {.name = "parameter", .type = DOC_STRING},
    {.name = NULL},
};

static const struct doc_arg config_get_args[] = {
    {.name = "parameter",
     .type = DOC_BLOCK,
     .flags = DOC_MULTIPLE,
     .args = config_get_parameter_args},
    {.name = NULL},
};

static const struct command_doc config_get_doc = {
    .summary = "Shows options whose names match",
    .since = "2.0.0",
    .group = "server",
    .complexity = "O(N) over the options asked for",
    .history = config_get_history,
    .args = config_get_args,
};

static const struct command_doc config_help_doc = {
    .summary = "Lists the subcommands",
    .since = "5.0.0",
    .group = "server",
    .complexity = "O(1)",
};

static const struct command_doc config_resetstat_doc = {
    .summary = "Puts the counters of INFO back to zero",
    .since = "2.0.0",
    .group = "server",
    .complexity = "O(1)",
};

static const struct command_doc config_rewrite_doc = {
    .summary = "Writes the options in force back to the configuration file",
    .since = "2.8.0",
    .group = "server",
    .complexity = "O(1)",
};

static const char *const config_set_history[] = {
    "7.0.0",
    "Takes several options.",
    NULL,
};

static const struct doc_arg config_set_parameter_value_args[] = {
    {.name = "parameter", .type = DOC_STRING},
    {.name = "value", .type = DOC_STRING},
    {.name = NULL},
};

static const struct doc_arg config_set_args[] = {
    {.name = "parameter_value",
     .type = DOC_BLOCK,
     .flags = DOC_MULTIPLE,
     .args = config_set_parameter_value_args},
    {.name = NULL},
};

static const struct command_doc config_set_doc = {
    .summary = "Changes options, all of them or none",
    .since = "2.0.0",
    .group = "server",
    .complexity = "O(N) over the options given",
    .history = config_set_history,
    .args = config_set_args,
};

static const char *const config_set_tips[] = {"request_policy:all_nodes",
                                              "response_policy:all_succeeded", NULL};

static const struct command config_subcommands[] = {
    {
        .name = "get",
        .arity = -3,
        .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
        .route = ROUTE_HOME,
        .doc = &config_get_doc,
        .handler = config_get_command,
    },
    {
        .name = "help",
        .arity = 2,
        .flags = CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW,
        .route = ROUTE_HOME,
        .doc = &config_help_doc,
        .handler = config_help_command,
    },
    {
        .name = "resetstat",
        .arity = 2,
        .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
        .route = ROUTE_GATHER,
        .doc = &config_resetstat_doc,
        .handler = config_resetstat_command,
        .part = config_resetstat_part,
    },
    {
        .name = "rewrite",
        .arity = 2,
        .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
        .route = ROUTE_SERVICE,
        .doc = &config_rewrite_doc,
        .handler = config_rewrite_command,
    },
    {
        .name = "set",
        .arity = -4,
        .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
        .route = ROUTE_GATHER,
        .tips = config_set_tips,
        .doc = &config_set_doc,
        .handler = config_set_command,
        .part = config_set_part,
        .start = config_set_start,
        .waits = config_set_waits,
        .prepare = config_set_prepare,
    },
    {.name = NULL},
};

static const struct command_doc debug_doc = {
    .summary = "Container of what helps to test the server",
    .since = "1.0.0",
    .group = "server",
    .complexity = "That of the subcommand",
    .syscmd = true,
};

static const char *const info_history[] = {
    "7.0.0",
    "Takes several sections.",
    NULL,
};

static const struct doc_arg info_args[] = {
    {.name = "section", .type = DOC_STRING, .flags = DOC_OPTIONAL | DOC_MULTIPLE},
    {.name = NULL},
};

static const struct command_doc info_doc = {
    .summary = "Shows figures of the server, by section",
    .since = "1.0.0",
    .group = "server",
    .complexity = "O(1)",
    .history = info_history,
    .args = info_args,
};

static const char *const info_tips[] = {"nondeterministic_output", "request_policy:all_shards",
                                        "response_policy:special", NULL};

static const struct doc_arg lolwut_args[] = {
    {.name = "version", .type = DOC_INTEGER, .flags = DOC_OPTIONAL, .token = "VERSION"},
    {.name = NULL},
};

static const struct command_doc lolwut_doc = {
    .summary = "Draws a picture and tells the version",
    .since = "5.0.0",
    .group = "server",
    .args = lolwut_args,
};

static const struct command_doc memory_doc = {
    .summary = "Container of what concerns memory",
    .since = "4.0.0",
    .group = "server",
    .complexity = "That of the subcommand",
};

static const struct command_doc memory_doctor_doc = {
    .summary = "Looks for trouble with memory and says what to do",
    .since = "4.0.0",
    .group = "server",
    .complexity = "O(1)",
};

static const char *const memory_doctor_tips[] = {
    "nondeterministic_output", "request_policy:all_shards", "response_policy:special", NULL};

static const struct command_doc memory_help_doc = {
    .summary = "Lists the subcommands",
    .since = "4.0.0",
    .group = "server",
    .complexity = "O(1)",
};

static const struct command_doc memory_malloc_stats_doc = {
    .summary = "Shows the statistics of the allocator",
    .since = "4.0.0",
    .group = "server",
    .complexity = "Grows with the memory in use",
};

static const char *const memory_malloc_stats_tips[] = {
    "nondeterministic_output", "request_policy:all_shards", "response_policy:special", NULL};

static const struct command_doc memory_purge_doc = {
    .summary = "Gives memory that is free back to the operating system",
    .since = "4.0.0",
    .group = "server",
    .complexity = "Grows with the memory in use, may be slow",
};

static const char *const memory_purge_tips[] = {"request_policy:all_shards",
                                                "response_policy:all_succeeded", NULL};

static const struct command_doc memory_stats_doc = {
    .summary = "Shows where memory goes",
    .since = "4.0.0",
    .group = "server",
    .complexity = "O(1)",
};

static const char *const memory_stats_tips[] = {
    "nondeterministic_output", "request_policy:all_shards", "response_policy:special", NULL};

static const struct doc_arg memory_usage_args[] = {
    {.name = "key", .type = DOC_KEY, .key_spec = 0},
    {.name = "count", .type = DOC_INTEGER, .flags = DOC_OPTIONAL, .token = "SAMPLES"},
    {.name = NULL},
};

static const struct command_doc memory_usage_doc = {
    .summary = "Tells how many bytes a key and its value take",
    .since = "4.0.0",
    .group = "server",
    .complexity = "O(N) over the samples",
    .args = memory_usage_args,
};

static const struct keyspec memory_usage_keys[] = {
    {.flags = KS_RO,
     .begin = BEGIN_INDEX,
     .begin_index = 2,
     .find = FIND_RANGE,
     .last_key = 0,
     .key_step = 1,
     .limit = 0},
};

static const struct command memory_subcommands[] = {
    {
        .name = "doctor",
        .arity = 2,
        .categories = CAT_SLOW,
        .route = ROUTE_GATHER,
        .tips = memory_doctor_tips,
        .doc = &memory_doctor_doc,
        .handler = memory_doctor_command,
        .part = memory_doctor_part,
    },
    {
        .name = "help",
        .arity = 2,
        .flags = CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW,
        .route = ROUTE_HOME,
        .doc = &memory_help_doc,
        .handler = memory_help_command,
    },
    {
        .name = "malloc-stats",
        .arity = 2,
        .categories = CAT_SLOW,
        .route = ROUTE_HOME,
        .tips = memory_malloc_stats_tips,
        .doc = &memory_malloc_stats_doc,
        .handler = memory_malloc_stats_command,
    },
    {
        .name = "purge",
        .arity = 2,
        .categories = CAT_SLOW,
        .route = ROUTE_GATHER,
        .tips = memory_purge_tips,
        .doc = &memory_purge_doc,
        .handler = memory_purge_command,
        .part = memory_purge_part,
    },
    {
        .name = "stats",
        .arity = 2,
        .categories = CAT_SLOW,
        .route = ROUTE_GATHER,
        .tips = memory_stats_tips,
        .doc = &memory_stats_doc,
        .handler = memory_stats_command,
        .part = memory_stats_part,
    },
    {
        .name = "usage",
        .arity = -3,
        .flags = CMD_READONLY,
        .categories = CAT_READ | CAT_SLOW,
        .route = ROUTE_KEYS,
        .keys = memory_usage_keys,
        .n_keys = 1,
        .doc = &memory_usage_doc,
        .handler = memory_usage_command,
    },
    {.name = NULL},
};

static const char *const shutdown_history[] = {
    "7.0.0",
    "Modifiers `NOW`, `FORCE`, `ABORT`.",
    NULL,
};

static const struct doc_arg shutdown_nosave_save_args[] = {
    {.name = "nosave", .type = DOC_PURE_TOKEN, .token = "NOSAVE"},
    {.name = "save", .type = DOC_PURE_TOKEN, .token = "SAVE"},
    {.name = NULL},
};

static const struct doc_arg shutdown_args[] = {
    {.name = "nosave_save",
     .type = DOC_ONEOF,
     .flags = DOC_OPTIONAL,
     .args = shutdown_nosave_save_args},
    {.name = "now",
     .type = DOC_PURE_TOKEN,
     .flags = DOC_OPTIONAL,
     .token = "NOW",
     .since = "7.0.0"},
    {.name = "force",
     .type = DOC_PURE_TOKEN,
     .flags = DOC_OPTIONAL,
     .token = "FORCE",
     .since = "7.0.0"},
    {.name = "abort",
     .type = DOC_PURE_TOKEN,
     .flags = DOC_OPTIONAL,
     .token = "ABORT",
     .since = "7.0.0"},
    {.name = NULL},
};

static const struct command_doc shutdown_doc = {
    .summary = "Ends the server in order",
    .since = "1.0.0",
    .group = "server",
    .complexity = "O(N) over all keys when it saves, else O(1)",
    .history = shutdown_history,
    .args = shutdown_args,
};

static const struct command_doc time_doc = {
    .summary = "Tells the wall clock: seconds, and microseconds of the second",
    .since = "2.6.0",
    .group = "server",
    .complexity = "O(1)",
};

static const char *const time_tips[] = {"nondeterministic_output", NULL};

static const struct command module_subcommands[] = {
    {
        .name = "help",
        .arity = 2,
        .flags = CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW,
        .route = ROUTE_HOME,
        .handler = module_help_command,
        .doc = DOC(.summary = "Lists the subcommands", .since = "5.0.0", .group = "server",
                   .complexity = "O(1)"),
    },
    {
        .name = "list",
        .arity = 2,
        .flags = CMD_ADMIN | CMD_NOSCRIPT,
        .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
        .route = ROUTE_HOME,
        .handler = module_list_command,
        .tips = TEXTS("nondeterministic_output_order"),
        .doc = DOC(.summary = "Lists the modules that are loaded: none", .since = "4.0.0",
                   .group = "server", .complexity = "O(1)"),
    },
    {
        .name = "load",
        .arity = -3,
        .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_NO_ASYNC_LOADING,
        .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
        .route = ROUTE_HOME,
        .handler = module_load_command,
        .doc = DOC(.summary = "Refused: modules are not run", .since = "4.0.0", .group = "server",
                   .complexity = "O(1)",
                   .args = DOC_ARGS(
                       {.name = "path", .type = DOC_STRING},
                       {.name = "arg", .type = DOC_STRING, .flags = DOC_OPTIONAL | DOC_MULTIPLE})),
    },
    {
        .name = "loadex",
        .arity = -3,
        .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_NO_ASYNC_LOADING,
        .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
        .route = ROUTE_HOME,
        .handler = module_load_command,
        .doc = DOC(.summary = "Refused: modules are not run", .since = "7.0.0", .group = "server",
                   .complexity = "O(1)",
                   .args =
                       DOC_ARGS({.name = "path", .type = DOC_STRING},
                                {.name = "configs",
                                 .type = DOC_BLOCK,
                                 .flags = DOC_OPTIONAL | DOC_MULTIPLE | DOC_MULTIPLE_TOKEN,
                                 .token = "CONFIG",
                                 .args = DOC_ARGS({.name = "name", .type = DOC_STRING}, ARG_VALUE)},
                                {.name = "args",
                                 .type = DOC_BLOCK,
                                 .flags = DOC_OPTIONAL | DOC_MULTIPLE,
                                 .token = "ARGS",
                                 .args = DOC_ARGS({.name = "arg", .type = DOC_STRING})})),
    },
    {
        .name = "unload",
        .arity = 3,
        .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_NO_ASYNC_LOADING,
        .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
        .route = ROUTE_HOME,
        .handler = module_unload_command,
        .doc = DOC(.summary = "Refused: modules are not run", .since = "4.0.0", .group = "server",
                   .complexity = "O(1)", .args = DOC_ARGS({.name = "name", .type = DOC_STRING})),
    },
    {.name = NULL},
};

const struct command server_commands[] = {
    {
        .name = "command",
        .arity = -1,
        .flags = CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW | CAT_CONNECTION,
        .route = ROUTE_HOME,
        .tips = command_tips,
        .doc = &command_doc,
        .subcommands = command_subcommands,
        .handler = command_command,
    },
    {
        .name = "config",
        .arity = -2,
        .categories = CAT_SLOW,
        .route = ROUTE_HOME,
        .doc = &config_doc,
        .subcommands = config_subcommands,
    },
    {
        .name = "debug",
        .arity = -2,
        .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
        .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
        .route = ROUTE_GATHER,
        .doc = &debug_doc,
        .handler = debug_command,
        .part = debug_part,
        .part_keys = true,
        .start = debug_start,
    },
    {
        .name = "info",
        .arity = -1,
        .flags = CMD_LOADING | CMD_STALE,
        .categories = CAT_SLOW | CAT_DANGEROUS,
        .route = ROUTE_GATHER,
        .tips = info_tips,
        .doc = &info_doc,
        .handler = info_command,
        .part = info_part,
    },
    {
        .name = "lolwut",
        .arity = -1,
        .flags = CMD_READONLY | CMD_FAST,
        .categories = CAT_READ | CAT_FAST,
        .route = ROUTE_HOME,
        .doc = &lolwut_doc,
        .handler = lolwut_command,
    },
    {
        .name = "memory",
        .arity = -2,
        .categories = CAT_SLOW,
        .route = ROUTE_HOME,
        .doc = &memory_doc,
        .subcommands = memory_subcommands,
    },
    {
        .name = "module",
        .arity = -2,
        .categories = CAT_SLOW,
        .route = ROUTE_HOME,
        .subcommands = module_subcommands,
        .doc = DOC(.summary = "Container of what concerns modules, of which there are none",
                   .since = "4.0.0", .group = "server", .complexity = "That of the subcommand"),
    },
    {
        .name = "shutdown",
        .arity = -1,
        .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_NO_MULTI | CMD_ALLOW_BUSY,
        .categories = CAT_ADMIN | CAT_SLOW | CAT_DANGEROUS,
        .route = ROUTE_HOME,
        .doc = &shutdown_doc,
        .handler = shutdown_command,
    },
    {
        .name = "time",
        .arity = 1,
        .flags = CMD_LOADING | CMD_STALE | CMD_FAST,
        .categories = CAT_FAST,
        .route = ROUTE_HOME,
        .tips = time_tips,
        .doc = &time_doc,
        .handler = time_command,
    },
    {.name = NULL},
};
