#include "bench/micro/plan.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char plan_help[] =
    "usage: pollux-micro [OPTION]...\n"
    "Measures the stages of a request one by one, in cycles and instructions, by the server's own\n"
    "code, and shows where the time of a whole request goes. Needs no server and no network.\n"
    "\n"
    "Examples:\n"
    "  pollux-micro                                  everything: about two minutes, 2 GB\n"
    "  pollux-micro --keys 1m --stage request        a bar for each kind of request\n"
    "  pollux-micro --stage lookup --keys 10k,1m,10m what a larger table costs\n"
    "  pollux-micro --callgrind --stage execute      instructions, where nothing else counts them\n"
    "  pollux-micro --json --plot request.svg\n"
    "\n"
    "  --stage NAME     this stage, or all that begin so; may be given more than once\n"
    "  --list           name the stages\n"
    "  --keys LIST      sizes of the table of strings (10k,1m,10m)\n"
    "  --values N       keys of each other type (1m)\n"
    "  --seconds S      to spend on each stage (0.2)\n"
    "  --offloads       as if the port checked and made checksums\n"
    "  --cpu N          stay on this CPU\n"
    "  --callgrind      count instructions by valgrind, instead of cycles; 10k keys unless --keys\n"
    "  --json           print JSON\n"
    "  --plot FILE      draw the requests' bars: FILE ends with .svg or .png\n"
    "  --ascii          bars without Unicode\n"
    "  --help           this text\n";

enum {
    OPT_STAGE = 256,
    OPT_LIST,
    OPT_KEYS,
    OPT_VALUES,
    OPT_SECONDS,
    OPT_OFFLOADS,
    OPT_CPU,
    OPT_CALLGRIND,
    OPT_COUNTED,
    OPT_JSON,
    OPT_PLOT,
    OPT_ASCII,
    OPT_HELP,
};

static const struct option options[] = {
    {"stage", required_argument, NULL, OPT_STAGE},
    {"list", no_argument, NULL, OPT_LIST},
    {"keys", required_argument, NULL, OPT_KEYS},
    {"values", required_argument, NULL, OPT_VALUES},
    {"seconds", required_argument, NULL, OPT_SECONDS},
    {"offloads", no_argument, NULL, OPT_OFFLOADS},
    {"cpu", required_argument, NULL, OPT_CPU},
    {"callgrind", no_argument, NULL, OPT_CALLGRIND},
    {"counted", no_argument, NULL, OPT_COUNTED}, // callgrind_run's word to itself
    {"json", no_argument, NULL, OPT_JSON},
    {"plot", required_argument, NULL, OPT_PLOT},
    {"ascii", no_argument, NULL, OPT_ASCII},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

// "10k", "1m", "12345"; ends at a comma or the end.
static const char *read_count(const char *text, uint64_t *n)
{
    char *end;
    errno = 0;
    *n = strtoull(text, &end, 10);
    if (end == text || errno || *text < '0' || *text > '9')
        return NULL;
    uint64_t unit = 1;
    if (*end == 'k' || *end == 'K')
        unit = 1000;
    else if (*end == 'm' || *end == 'M')
        unit = 1000000;
    end += unit > 1;
    if ((*end && *end != ',') || !*n || *n > PLAN_KEYS_MAX / unit)
        return NULL;
    *n *= unit;
    return end;
}

static bool read_keys(struct plan *p, const char *list)
{
    p->n_keys = 0;
    while (list && p->n_keys < TABLES_MAX) {
        uint64_t n;
        list = read_count(list, &n);
        if (!list || (p->n_keys && n <= p->keys[p->n_keys - 1]))
            return false;
        p->keys[p->n_keys++] = n;
        if (!*list)
            return true;
        list++;
    }
    return false;
}

static bool read_value(const char *text, uint64_t *n)
{
    const char *end = read_count(text, n);
    return end && !*end;
}

static bool choose(struct plan *p, const char *name)
{
    bool any = false;
    for (unsigned i = 0; i < p->n_stages; i++)
        if (strncmp(p->stages[i].name, name, strlen(name)) == 0)
            any = p->chosen[i] = true;
    return any && *name;
}

enum plan_result plan_read(struct plan *p, int argc, char **argv, char *error, size_t size)
{
    bool any = false;
    char *end;
    *p = (struct plan){.seconds = PLAN_SECONDS, .cpu = -1};
    p->n_stages = stages_all(p->stages);
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (option) {
        case OPT_STAGE:
            any = true;
            if (choose(p, optarg))
                break;
            snprintf(error, size, "--stage %s: there is no such stage; see --list", optarg);
            return PLAN_BAD;
        case OPT_LIST:
            p->list = true;
            break;
        case OPT_KEYS:
            if (read_keys(p, optarg))
                break;
            snprintf(error, size,
                     "--keys %s: up to %d growing numbers such as 10k,1m, each at "
                     "most 100m",
                     optarg, TABLES_MAX);
            return PLAN_BAD;
        case OPT_VALUES:
            if (read_value(optarg, &p->values))
                break;
            snprintf(error, size, "--values %s: a number from 1 to 100m", optarg);
            return PLAN_BAD;
        case OPT_SECONDS:
            p->seconds = strtod(optarg, &end);
            if (end != optarg && !*end && p->seconds > 0 && p->seconds <= 3600)
                break;
            snprintf(error, size, "--seconds %s: more than 0, at most 3600", optarg);
            return PLAN_BAD;
        case OPT_CPU:
            p->cpu = (int)strtol(optarg, &end, 10);
            if (end != optarg && !*end && p->cpu >= 0)
                break;
            snprintf(error, size, "--cpu %s: the number of a CPU", optarg);
            return PLAN_BAD;
        case OPT_OFFLOADS:
            p->offloads = true;
            break;
        case OPT_CALLGRIND:
            p->callgrind = true;
            break;
        case OPT_COUNTED:
            p->counted = true;
            break;
        case OPT_JSON:
            p->json = true;
            break;
        case OPT_PLOT:
            p->plot = optarg;
            break;
        case OPT_ASCII:
            p->ascii = true;
            break;
        case OPT_HELP:
            return PLAN_HELP;
        default:
            snprintf(error, size, "%s is unknown or lacks its value; see --help", argv[optind - 1]);
            return PLAN_BAD;
        }
    if (optind < argc) {
        snprintf(error, size, "'%s' is no option; see --help", argv[optind]);
        return PLAN_BAD;
    }
    if (p->plot && p->callgrind) {
        snprintf(error, size, "--plot draws cycles, and --callgrind counts none: leave one out");
        return PLAN_BAD;
    }
    for (unsigned i = 0; !any && i < p->n_stages; i++)
        p->chosen[i] = true;
    const uint64_t by_default[] = {10000, 1000000, 10000000};
    if (!p->n_keys) {
        p->n_keys = p->callgrind ? 1 : 3;
        memcpy(p->keys, by_default, sizeof(by_default));
    }
    if (!p->values)
        p->values = p->callgrind ? PLAN_CALLGRIND_KEYS : PLAN_VALUES;
    return PLAN_RUN;
}
