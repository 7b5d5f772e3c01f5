// polluxctl: looks inside a running server, through the control plane's socket.
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "common/plane.h"
#include "common/table.h"
#include "controlplane/cli/run.h"
#include "controlplane/cli/show.h"

#define ANSWER_MORE_S 5 // what we wait beyond the control plane's own limit of a command
#define EXECUTE_S 30    // that limit, unless --timeout says otherwise
#define TIMEOUT_MAX_S 86400
#define SHUTDOWN_S 20 // the supervisor kills what does not end before that
#define LIMIT_DEFAULT 1000

struct subcommand {
    const char *name;
    int (*run)(struct ctl_client *c, const struct options *o);
    const char *arguments, *help, *examples;
    const char *options; // of this subcommand alone, for its help; NULL: none
    bool options_only;   // it takes no words but its options
};

// --- asking --------------------------------------------------------------------------------------

int complain(const char *text)
{
    fprintf(stderr, "polluxctl: %s\n", text);
    return FAILED;
}

int complain_of(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("polluxctl: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return FAILED;
}

volatile int interrupted;

static void interrupt(int number)
{
    interrupted = number;
}

void interrupt_catch(void)
{
    struct sigaction a = {.sa_handler = interrupt}; // no SA_RESTART: what waits returns
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGHUP, &a, NULL);
}

// The reply, or NULL after a complaint; an error reply is a complaint.
struct resp_value *ask(struct ctl_client *c, unsigned argc, const char *const *argv,
                       unsigned timeout_s)
{
    return ask_bytes(c, argc, argv, NULL, timeout_s);
}

struct resp_value *ask_bytes(struct ctl_client *c, unsigned argc, const char *const *argv,
                             const size_t *lens, unsigned timeout_s)
{
    char error[512];
    struct resp_value *v = ctl_ask_bytes(c, argc, argv, lens, timeout_s, error, sizeof(error));
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
    // And its hint to HELP behind is for those who speak with it themselves.
    static const char hint[] = ": see HELP";
    size_t len = strlen(text);
    if (len > strlen(hint) && strcmp(text + len - strlen(hint), hint) == 0)
        len -= strlen(hint);
    complain_of("%.*s", (int)len, text);
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
    {"nic", run_nic, "[--all] [--explain] [--watch [SECONDS]]",
     "device, link, queues, drops and defences by cause, device statistics",
     "  polluxctl nic                    # counters that are not zero\n"
     "  polluxctl nic --all --explain    # all of them, and what each counts\n"
     "  polluxctl nic --watch 1          # with rates\n"
     "  polluxctl nic --json | jq '.[0].counters.tcp_retransmit_fast'\n",
     "  --all                counters that are zero, too\n"
     "  --explain            what each counter counts\n",
     true},
    {"connections", run_connections, "[OPTION …]",
     "address, state, RTT, windows, queues, retransmissions: all that ss -ti shows",
     "  polluxctl connections\n"
     "  polluxctl connections --info --peer 10.0.0.0/8\n"
     "  polluxctl connections --state close-wait,fin-wait-2\n"
     "  polluxctl connections --sort retransmitted --limit 10\n"
     "  polluxctl connections --limit 0 --json    # all, one JSON object a line\n",
     "  --info               two lines for each, in the words of ss -tio\n"
     "  --state STATES       established, syn-received, close-wait …; several with commas\n"
     "  --peer PEER          ADDRESS, ADDRESS/PREFIX, ADDRESS:PORT, [ADDRESS6]:PORT or :PORT\n"
     "  --core N             of one core\n"
     "  --local-port N       to one of our ports\n"
     "  --sort FIELD         by a figure, the largest first; FIELD as --json names it\n"
     "  --reverse            the smallest first\n"
     "  --limit N            at most N (1000, with --sort 50; 0: all)\n"
     "  --cursor N           goes on where a page ended\n",
     true},
    {"neighbours", run_neighbours, "",
     "the tables of neighbours: address, MAC, state, age (ARP, neighbour discovery)",
     "  polluxctl neighbours\n"
     "  polluxctl neighbours --json | jq '.[] | select(.state != \"REACHABLE\")'\n"},
    {"capture", run_capture, "[OPTION …]",
     "frames in both directions, as lines or as a pcapng file for Wireshark and tcpdump",
     "  polluxctl capture --filter 'port 6379' --count 20\n"
     "  polluxctl capture -w trace.pcapng --seconds 10\n"
     "  polluxctl capture -w - | wireshark -k -i -\n"
     "  polluxctl capture --filter 'icmp or arp' --core 0\n",
     "  --filter EXPR        what to capture, in the language of tcpdump (pcap-filter(7))\n"
     "  -w FILE              writes pcapng to FILE; '-' is standard output\n"
     "  --count N            ends after N frames\n"
     "  --seconds N          ends after N seconds\n"
     "  --snaplen N          keeps N bytes of each frame (all of them)\n"
     "  --core N             of one core\n"},
    {"ping", run_ping, "ADDRESS [OPTION …]",
     "asks a host for an echo (ICMP), sent by the server's own stack",
     "  polluxctl ping 10.0.0.1\n"
     "  polluxctl ping 10.0.0.1 --count 100 --interval 10 --size 1400\n",
     "  --count N            N times (4; 0: until interrupted)\n"
     "  --interval MS        milliseconds between two (1000)\n"
     "  --size N             bytes of payload (56)\n"
     "  --core N             sent by this core (0)\n"},
    {"slowlog", run_slowlog, "[--core N] [--limit N] [--follow [--seconds S]]",
     "commands that took long (slowlog-log-slower-than), the newest first",
     "  polluxctl slowlog\n"
     "  polluxctl slowlog --core 1 --limit 10\n"
     "  polluxctl slowlog --follow           # each as it comes, until interrupted\n"
     "  polluxctl slowlog --follow --json | jq -r .duration_us\n"
     "  polluxctl execute SLOWLOG RESET\n",
     "  --core N             of clients of one core\n"
     "  --limit N            at most N (1000; 0: all)\n"
     "  --follow             goes on, the oldest first\n"
     "  --seconds S          between two looks (1)\n",
     true},
    {"latency", run_latency, "[--watch [SECONDS]]",
     "how long commands took: percentiles and distribution; events that took long",
     "  polluxctl latency\n"
     "  polluxctl latency --watch 1\n"
     "  polluxctl latency --json | jq '.commands.get[\"p99_usec\"]'\n"
     "  polluxctl config set latency-monitor-threshold 10   # events from 10 ms on\n"
     "  polluxctl config resetstat                          # begins anew\n",
     NULL, true},
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
    if (s->options)
        printf("\nOptions:\n%s", s->options);
    if (*s->examples)
        printf("\nExamples:\n%s", s->examples);
}

static int run_help(struct ctl_client *c, const struct options *o)
{
    (void)c;
    const struct subcommand *s = o->argc > 1 ? subcommand_find(o->argv[1]) : NULL;
    if (o->argc > 1 && !s) {
        complain_of("unknown subcommand '%s': see polluxctl --help", o->argv[1]);
        return USAGE;
    }
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

// Options of subcommands. A number goes to `number`, a text to `text`, a flag to `flag`.
struct option {
    const char *name;
    const char *subcommands; // which take it, with spaces around each
    enum { FLAG, NUMBER, SECONDS, TEXT } kind;
    size_t offset;
    uint64_t min, max;
    const char *takes;
};

static const struct option options[] = {
#define AT(field) offsetof(struct options, field)
    {"--info", " connections ", FLAG, AT(info), 0, 0, NULL},
    {"--reverse", " connections ", FLAG, AT(reverse), 0, 0, NULL},
    {"--all", " nic ", FLAG, AT(all), 0, 0, NULL},
    {"--explain", " nic ", FLAG, AT(explain), 0, 0, NULL},
    {"--follow", " slowlog ", FLAG, AT(follow), 0, 0, NULL},
    {"--state", " connections ", TEXT, AT(state), 0, 0, "names of states"},
    {"--peer", " connections ", TEXT, AT(peer), 0, 0, "ADDRESS[/PREFIX][:PORT]"},
    {"--sort", " connections ", TEXT, AT(sort), 0, 0, "the name of a field"},
    {"--filter", " capture ", TEXT, AT(filter), 0, 0, "an expression, as tcpdump does"},
    {"-w", " capture ", TEXT, AT(file), 0, 0, "a file's name, or - for standard output"},
    {"--core", " connections capture ping slowlog ", NUMBER, AT(core), 0, PLANE_CORES_MAX - 1,
     "the number of a core"},
    {"--local-port", " connections ", NUMBER, AT(local_port), 1, UINT16_MAX,
     "a port from 1 to 65535"},
    {"--limit", " connections slowlog ", NUMBER, AT(limit), 0, INT64_MAX, "a number"},
    {"--cursor", " connections ", NUMBER, AT(cursor), 0, INT64_MAX, "a number"},
    {"--count", " capture ping ", NUMBER, AT(count), 0, INT64_MAX, "a number"},
    {"--snaplen", " capture ", NUMBER, AT(snaplen), 14, 65535, "bytes from 14 to 65535"},
    {"--size", " ping ", NUMBER, AT(size), 0, 65000, "bytes from 0 to 65000"},
    {"--interval", " ping ", NUMBER, AT(interval_ms), 1, 3600000, "milliseconds from 1 to 3600000"},
    {"--seconds", " capture slowlog ", SECONDS, AT(seconds), 0, 0, "seconds from 0.001 to 86400"},
#undef AT
};

// Whether a subcommand takes it; before the subcommand is known every option is taken.
static bool option_fits(const struct option *p, const struct options *o)
{
    char name[40];
    snprintf(name, sizeof(name), " %.30s ", o->argc ? o->argv[0] : "");
    return !o->argc || strstr(p->subcommands, name);
}

static bool seconds_read(const char *text, double min, double *seconds)
{
    char *end = NULL;
    double value = text ? strtod(text, &end) : 0;
    *seconds = value;
    return text && end != text && !*end && value >= min && value <= TIMEOUT_MAX_S;
}

// 2 or 1 words taken, -1 after a complaint, 0: no such option.
static int option_of_subcommand(struct options *o, const char *name, const char *next)
{
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        const struct option *p = &options[i];
        void *at = (char *)o + p->offset;
        uint64_t value = 0;
        double seconds = 0;
        if (strcmp(name, p->name) != 0 || !option_fits(p, o))
            continue;
        if (p->kind == FLAG) {
            *(bool *)at = true;
            return 1;
        }
        bool good = next && *next;
        if (p->kind == NUMBER)
            good = good && number(next, p->max, &value) && value >= p->min;
        else if (p->kind == SECONDS)
            good = seconds_read(next, 0.001, &seconds);
        if (!good) {
            complain_of("%s takes %s", name, p->takes);
            return -1;
        }
        if (p->kind == TEXT)
            *(const char **)at = next;
        else if (p->kind == SECONDS)
            *(double *)at = seconds;
        else
            *(uint64_t *)at = value;
        o->limit_given |= at == &o->limit;
        o->count_given |= at == &o->count;
        return 2;
    }
    return 0;
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
        if (given && !(seconds >= 0.1 && seconds <= TIMEOUT_MAX_S)) {
            complain("--watch takes seconds from 0.1 to 86400");
            return -1;
        }
        o->watch_s = given ? seconds : 2;
        return given ? 2 : 1;
    }
    if (!strcmp(name, "--timeout")) {
        if (!next || !number(next, TIMEOUT_MAX_S, &value) || !value) {
            fprintf(stderr, "polluxctl: --timeout takes seconds from 1 to %d\n", TIMEOUT_MAX_S);
            return -1;
        }
        o->timeout_s = (unsigned)value;
        return 2;
    }
    if (!strcmp(name, "--runtime-dir")) {
        if (!next) {
            complain("--runtime-dir needs a folder");
            return -1;
        }
        o->run_directory = next;
        return 2;
    }
    if (!strcmp(name, "-p") || !strcmp(name, "--port")) {
        if (!next || !number(next, UINT16_MAX, &value)) {
            fprintf(stderr, "polluxctl: %s needs a port from 0 to 65535\n", name);
            return -1;
        }
        o->port = (unsigned)value;
        return 2;
    }
    return option_of_subcommand(o, name, next);
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
    struct options o = {.limit = LIMIT_DEFAULT, .core = -1, .size = PING_SIZE, .interval_ms = 1000};
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
        } else if (o.argc > 1 && (!*s->arguments || s->options_only)) {
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
