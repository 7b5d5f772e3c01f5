// polluxctl: looks inside a running server, through the control plane's socket.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "common/table.h"
#include "controlplane/cli/client.h"
#include "controlplane/cli/show.h"

// Exit codes.
enum { DONE = 0, FAILED = 1, USAGE = 2, NO_SERVER = 3 };

#define ANSWER_S 5      // the control plane gives up on a core before that
#define ANSWER_MORE_S 5 // what we wait beyond the control plane's own limit of a command
#define EXECUTE_S 30    // that limit, unless --timeout says otherwise
#define TIMEOUT_MAX_S 86400
#define SHUTDOWN_S 20 // the supervisor kills what does not end before that
#define LIMIT_DEFAULT 1000

struct options {
    unsigned port;
    const char *run_directory;
    bool json;
    double watch_s; // 0: once
    uint64_t cursor, limit;
    unsigned timeout_s; // of execute and config; 0: not said
    unsigned argc;      // words of the subcommand, its name first
    const char **argv;
};

struct subcommand {
    const char *name;
    int (*run)(struct ctl_client *c, const struct options *o);
    const char *arguments, *help, *examples;
};

// --- asking --------------------------------------------------------------------------------------

static int complain(const char *text)
{
    fprintf(stderr, "polluxctl: %s\n", text);
    return FAILED;
}

// The reply, or NULL after a complaint; an error reply is a complaint.
static struct resp_value *ask(struct ctl_client *c, unsigned argc, const char *const *argv,
                              unsigned timeout_s)
{
    char error[512];
    struct resp_value *v = ctl_ask(c, argc, argv, timeout_s, error, sizeof(error));
    if (!v) {
        complain(error);
        return NULL;
    }
    if (v->type != '-' && v->type != '!')
        return v;
    // The control plane's own words in front are for programs.
    static const char *const words[] = {"ERR ", "NODATAPLANE ", "TIMEOUT ", "BUSY "};
    const char *text = v->text;
    for (unsigned i = 0; i < 4; i++)
        if (strncmp(v->text, words[i], strlen(words[i])) == 0)
            text = v->text + strlen(words[i]);
    complain(text);
    resp_value_free(v);
    return NULL;
}

static int ask_and_show(struct ctl_client *c, const struct options *o, const char *command,
                        char type, void (*show)(const struct resp_value *))
{
    struct resp_value *v = ask(c, 1, &command, ANSWER_S);
    if (!v)
        return FAILED;
    int status = DONE;
    if (v->type != type)
        status = complain("the control plane is of another version: its answer cannot be shown");
    else if (o->json)
        show_json(v, o->watch_s > 0);
    else
        show(v);
    // A server without its data plane is not well, whoever asks.
    const struct resp_value *data = resp_member(v, "data_plane");
    if (data && !resp_member_integer(data, "attached"))
        status = FAILED;
    resp_value_free(v);
    return status;
}

static int run_status(struct ctl_client *c, const struct options *o)
{
    return ask_and_show(c, o, "STATUS", '%', show_status);
}

static int run_cores(struct ctl_client *c, const struct options *o)
{
    return ask_and_show(c, o, "CORES", '*', show_cores);
}

static int run_nic(struct ctl_client *c, const struct options *o)
{
    return ask_and_show(c, o, "NIC", '*', show_nic);
}

static int run_neighbours(struct ctl_client *c, const struct options *o)
{
    return ask_and_show(c, o, "NEIGHBOURS", '*', show_neighbours);
}

// A command of the server's; the control plane is told first how long it may take.
static struct resp_value *ask_server(struct ctl_client *c, const struct options *o)
{
    if (o->timeout_s) {
        char seconds[16];
        snprintf(seconds, sizeof(seconds), "%u", o->timeout_s);
        const char *argv[] = {"TIMEOUT", seconds};
        struct resp_value *v = ask(c, 2, argv, ANSWER_S);
        if (!v)
            return NULL;
        resp_value_free(v);
    }
    return ask(c, o->argc, o->argv, (o->timeout_s ? o->timeout_s : EXECUTE_S) + ANSWER_MORE_S);
}

// Page after page, up to the limit.
static int run_connections(struct ctl_client *c, const struct options *o)
{
    uint64_t cursor = o->cursor, shown = 0;
    do {
        char at[24], count[24];
        uint64_t left = o->limit ? o->limit - shown : 1000;
        snprintf(at, sizeof(at), "%llu", (unsigned long long)cursor);
        snprintf(count, sizeof(count), "%llu", (unsigned long long)(left < 1000 ? left : 1000));
        const char *argv[] = {"CONNECTIONS", at, "COUNT", count};
        struct resp_value *v = ask(c, 4, argv, ANSWER_S);
        const struct resp_value *list = resp_member(v, "connections");
        if (!list) {
            resp_value_free(v);
            return FAILED;
        }
        if (o->json)
            for (size_t i = 0; i < list->n && (!o->limit || i < left); i++)
                show_json(&list->items[i], true);
        else
            show_connections(list, o->limit ? left : SIZE_MAX);
        shown += list->n;
        cursor = (uint64_t)resp_member_integer(v, "next");
        resp_value_free(v);
    } while (cursor && (!o->limit || shown < o->limit));
    if (!o->json)
        show_connections_end();
    if (cursor)
        fprintf(stderr,
                "polluxctl: there are more: '--cursor %llu' goes on, '--limit 0' shows all\n",
                (unsigned long long)cursor);
    return DONE;
}

static int run_config(struct ctl_client *c, const struct options *o)
{
    static const char *const known[] = {"get", "set", "rewrite", "resetstat"};
    bool valid = false;
    for (unsigned i = 0; o->argc > 1 && i < 4; i++)
        valid |= strcasecmp(o->argv[1], known[i]) == 0;
    if (!valid) {
        complain("config takes get PATTERN, set NAME VALUE, rewrite or resetstat");
        return USAGE;
    }
    struct resp_value *v = ask_server(c, o);
    if (!v)
        return FAILED;
    if (o->json)
        show_json(v, false);
    else if (v->type == '%')
        show_pairs(v);
    else
        show_value(v);
    int status = DONE;
    if (strcasecmp(o->argv[1], "get") == 0 && v->n == 0)
        status = complain("no option has such a name");
    resp_value_free(v);
    return status;
}

static int run_execute(struct ctl_client *c, const struct options *o)
{
    if (o->argc < 2) {
        complain("execute takes a command and its arguments");
        return USAGE;
    }
    struct resp_value *v = ask_server(c, o);
    if (!v)
        return FAILED;
    if (o->json) {
        show_json(v, false);
    } else if (v->type == '$' && !v->null && !isatty(STDOUT_FILENO)) {
        fwrite(v->text, 1, v->len, stdout); // bytes for the next program
        putchar('\n');
    } else {
        show_value(v);
    }
    resp_value_free(v);
    return DONE;
}

static int run_shutdown(struct ctl_client *c, const struct options *o)
{
    const char *command = "SHUTDOWN";
    (void)o;
    struct resp_value *v = ask(c, 1, &command, ANSWER_S);
    if (!v)
        return FAILED;
    resp_value_free(v);
    if (!ctl_wait_ended(c, SHUTDOWN_S))
        return complain("the server was told to end and still runs: see its log");
    return DONE;
}

static int run_help(struct ctl_client *c, const struct options *o);

static const struct subcommand subcommands[] = {
    {"status", run_status, "", "processes, cores, memory, clients, rates, lease",
     "  polluxctl status\n"
     "  polluxctl -p 7000 status --watch 1\n"
     "  polluxctl status --json | jq .commands.per_second\n"},
    {"cores", run_cores, "", "each polling core: how busy, with what, stages, hand-overs",
     "  polluxctl cores\n"
     "  polluxctl cores --watch\n"},
    {"nic", run_nic, "", "device, link, queues, drops and their causes",
     "  polluxctl nic\n"
     "  polluxctl nic --json | jq '.[].counters'\n"},
    {"connections", run_connections, "[--limit N] [--cursor N]",
     "address, state, RTT, windows, queues, retransmissions",
     "  polluxctl connections\n"
     "  polluxctl connections --limit 0 --json    # all, one JSON object a line\n"},
    {"neighbours", run_neighbours, "", "the table of neighbours (ARP)", "  polluxctl neighbours\n"},
    {"config", run_config, "get PATTERN | set NAME VALUE | rewrite | resetstat",
     "the configuration in force",
     "  polluxctl config get 'maxmemory*'\n"
     "  polluxctl config set maxmemory 4gb\n"
     "  polluxctl config rewrite\n"},
    {"execute", run_execute, "[--timeout SECONDS] COMMAND [ARGUMENT …]",
     "any command, with full rights, without a port or password",
     "  polluxctl execute INFO memory\n"
     "  polluxctl execute CLIENT LIST\n"
     "  polluxctl execute --timeout 300 KEYS 'user:*'\n"},
    {"shutdown", run_shutdown, "", "ends the server in order, and waits for its end",
     "  polluxctl -p 7000 shutdown\n"},
    {"help", run_help, "[SUBCOMMAND]", "this text, or that of a subcommand", ""},
};
#define SUBCOMMANDS (sizeof(subcommands) / sizeof(subcommands[0]))

static const struct subcommand *subcommand_find(const char *name)
{
    for (size_t i = 0; i < SUBCOMMANDS; i++)
        if (strcmp(subcommands[i].name, name) == 0)
            return &subcommands[i];
    return NULL;
}

static void help_all(void)
{
    puts("Usage: polluxctl [-p PORT] [--runtime-dir DIR] [--json] SUBCOMMAND …\n"
         "\n"
         "Looks inside a running Pollux server.\n"
         "\n"
         "Subcommands:");
    for (size_t i = 0; i < SUBCOMMANDS; i++)
        printf("  %-12s %s\n", subcommands[i].name, subcommands[i].help);
    puts("\n"
         "Options:\n"
         "  -p, --port PORT      the server's port (6379, or that of the only server that runs)\n"
         "  --runtime-dir DIR    where its control socket lies, if it was started with one\n"
         "  --json               for programs\n"
         "  --watch [SECONDS]    again and again (every 2 seconds)\n"
         "  --timeout SECONDS    how long execute and config wait for the reply (30 seconds); a\n"
         "                       command that takes longer goes on, and its reply is lost\n"
         "  -h, --help           this text, or that of the subcommand before it\n"
         "  -v, --version        the version\n"
         "\n"
         "Exit codes: 0 done, 1 refused or failed (status: no data plane is attached),\n"
         "2 wrong usage, 3 no server.");
}

static void help_one(const struct subcommand *s)
{
    printf("Usage: polluxctl [-p PORT] [--runtime-dir DIR] [--json] %s%s%s\n\n%s.\n", s->name,
           *s->arguments ? " " : "", s->arguments, s->help);
    if (*s->examples)
        printf("\nExamples:\n%s", s->examples);
}

static int run_help(struct ctl_client *c, const struct options *o)
{
    (void)c;
    const struct subcommand *s = o->argc > 1 ? subcommand_find(o->argv[1]) : NULL;
    if (s)
        help_one(s);
    else
        help_all();
    return DONE;
}

// --- arguments -----------------------------------------------------------------------------------

static bool number(const char *text, uint64_t max, uint64_t *value)
{
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && !*end && !errno && *value <= max;
}

// Takes the option at argv[i]; returns how many words it has, 0 when it is none, -1 after a
// complaint.
static int option_take(struct options *o, int argc, char **argv, int i)
{
    uint64_t value;
    const char *name = argv[i], *next = i + 1 < argc ? argv[i + 1] : NULL;
    if (!strcmp(name, "--json")) {
        o->json = true;
        return 1;
    }
    if (!strcmp(name, "--watch")) {
        char *end = NULL;
        double seconds = next ? strtod(next, &end) : 0;
        bool given = next && end != next && !*end;
        if (given && !(seconds >= 0.1 && seconds <= 86400)) {
            complain("--watch takes seconds from 0.1 to 86400");
            return -1;
        }
        o->watch_s = given ? seconds : 2;
        return given ? 2 : 1;
    }
    bool port = !strcmp(name, "-p") || !strcmp(name, "--port");
    bool limit = !strcmp(name, "--limit"), cursor = !strcmp(name, "--cursor");
    if (!strcmp(name, "--timeout")) {
        if (!next || !number(next, TIMEOUT_MAX_S, &value) || !value) {
            fprintf(stderr, "polluxctl: --timeout takes seconds from 1 to %d\n", TIMEOUT_MAX_S);
            return -1;
        }
        o->timeout_s = (unsigned)value;
        return 2;
    }
    if (!strcmp(name, "--runtime-dir") && next) {
        o->run_directory = next;
        return 2;
    }
    if (!port && !limit && !cursor && strcmp(name, "--runtime-dir"))
        return 0;
    if (!next || !number(next, port ? UINT16_MAX : INT64_MAX, &value)) {
        fprintf(stderr, "polluxctl: %s needs a %s\n", name,
                port                                 ? "port from 0 to 65535"
                : strcmp(name, "--runtime-dir") == 0 ? "folder"
                                                     : "number");
        return -1;
    }
    if (port)
        o->port = (unsigned)value;
    else if (limit)
        o->limit = value;
    else
        o->cursor = value;
    return 2;
}

// Options stand before or behind the subcommand; behind execute and config all words are its own,
// but for --timeout right behind it.
static int arguments_read(struct options *o, int argc, char **argv)
{
    for (int i = 1; i < argc;) {
        bool verbatim =
            o->argc && (!strcmp(o->argv[0], "execute") || !strcmp(o->argv[0], "config"));
        if (!verbatim && (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help"))) {
            o->argv[1] = o->argc ? o->argv[0] : NULL;
            o->argc = o->argc ? 2 : 1;
            o->argv[0] = "help";
            return DONE;
        }
        if (verbatim && o->argc == 1 && !strcmp(argv[i], "--help")) {
            o->argv[1] = o->argv[0];
            o->argv[0] = "help";
            o->argc = 2;
            return DONE;
        }
        if (!verbatim && (!strcmp(argv[i], "-v") || !strcmp(argv[i], "--version"))) {
            puts("polluxctl " POLLUX_VERSION);
            exit(DONE);
        }
        bool json_last = verbatim && i == argc - 1 && !strcmp(argv[i], "--json") && o->argc > 1;
        // No command has a name like this.
        bool timeout_first = verbatim && o->argc == 1 && !strcmp(argv[i], "--timeout");
        int taken = verbatim && !json_last && !timeout_first ? 0 : option_take(o, argc, argv, i);
        if (taken < 0)
            return USAGE;
        if (!taken && !verbatim && argv[i][0] == '-') {
            fprintf(stderr, "polluxctl: unknown option '%s': see polluxctl --help\n", argv[i]);
            return USAGE;
        }
        if (!taken)
            o->argv[o->argc++] = argv[i];
        i += taken ? taken : 1;
    }
    return DONE;
}

// --- running -------------------------------------------------------------------------------------

static int run_once(const struct subcommand *s, const struct options *o)
{
    char error[900];
    struct ctl_client client = {.fd = -1};
    if (s->run != run_help &&
        ctl_connect(&client, o->port, o->run_directory, error, sizeof(error))) {
        complain(error);
        return NO_SERVER;
    }
    int status = s->run(&client, o);
    ctl_close(&client);
    if (fflush(stdout) || ferror(stdout))
        return FAILED;
    return status;
}

static int watch(const struct subcommand *s, const struct options *o)
{
    for (;;) {
        if (!o->json && isatty(STDOUT_FILENO))
            fputs("\033[H\033[2J", stdout);
        int status = run_once(s, o);
        if (status == USAGE || ferror(stdout))
            return status;
        struct timespec t = {.tv_sec = (time_t)o->watch_s,
                             .tv_nsec = (long)((o->watch_s - (double)(time_t)o->watch_s) * 1e9)};
        nanosleep(&t, NULL);
    }
}

int main(int argc, char **argv)
{
    struct options o = {.limit = LIMIT_DEFAULT};
    o.argv = calloc((size_t)argc + 2, sizeof(*o.argv));
    if (!o.argv)
        return complain("no memory");
    signal(SIGPIPE, SIG_DFL);
    int status = arguments_read(&o, argc, argv);
    if (status == DONE && !o.argc) {
        help_all();
        status = USAGE;
    } else if (status == DONE) {
        const struct subcommand *s = subcommand_find(o.argv[0]);
        if (!s) {
            fprintf(stderr, "polluxctl: unknown subcommand '%s': see polluxctl --help\n",
                    o.argv[0]);
            status = USAGE;
        } else if (o.argc > 1 && !*s->arguments) {
            fprintf(stderr, "polluxctl: %s takes no '%s': see polluxctl %s --help\n", s->name,
                    o.argv[1], s->name);
            status = USAGE;
        } else {
            status = o.watch_s > 0 ? watch(s, &o) : run_once(s, &o);
        }
    }
    free(o.argv);
    return status;
}
