// Runs packet scripts: `packets [OPTION]… FILE|FOLDER…`. Each case runs on a stack of its own; the
// report of one that fails names file and line, what was expected and what was seen.
#include "tests/packets/packets.h"

#include <dirent.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILES_MAX = 256, LINES_MAX = 20000 };

struct options {
    bool verbose, list;
    const char *only, *inputs;
};

static struct stage stage;
static unsigned passed, failed;

static void usage(FILE *to)
{
    fputs("usage: packets [OPTION]… FILE|FOLDER…\n"
          "  --case TEXT     only cases whose title has TEXT in it\n"
          "  --list          titles, without running anything\n"
          "  --verbose       every packet of every case\n"
          "  --frames FOLDER writes the frames that are sent into the stack there (seeds of "
          "fuzzing)\n"
          "The language is told in tests/packets/README.\n",
          to);
}

// "RFC 9293 3.10.7.4: what it is about": each case says what it stands for.
static bool title_good(const char *title)
{
    const char *colon = strstr(title, ": ");
    int number, n = 0;
    return colon && sscanf(title, "RFC %d%n", &number, &n) == 1 && n && title + n <= colon &&
           colon[2];
}

struct lines {
    char *line[LINES_MAX];
    unsigned n;
    char *text;
};

static bool read_lines(const char *file, struct lines *l)
{
    FILE *in = fopen(file, "r");
    if (!in) {
        fprintf(stderr, "packets: %s cannot be read\n", file);
        return false;
    }
    fseek(in, 0, SEEK_END);
    long size = ftell(in);
    rewind(in);
    l->text = malloc((size_t)size + 1);
    size_t got = fread(l->text, 1, (size_t)size, in);
    fclose(in);
    l->text[got] = 0;
    l->n = 0;
    for (char *at = l->text; *at && l->n < LINES_MAX;) {
        char *end = strchr(at, '\n');
        if (end)
            *end = 0;
        l->line[l->n++] = at;
        at = end ? end + 1 : at + strlen(at);
    }
    return true;
}

static void run_case(const char *file, const struct lines *l, unsigned prelude, unsigned first,
                     const struct options *o)
{
    static char report[16384];
    const char *title = l->line[first] + strlen("case ");
    unsigned end = first + 1;
    while (end < l->n && strncmp(l->line[end], "case ", 5) != 0)
        end++;
    if (o->only && !strstr(title, o->only))
        return;
    if (o->list) {
        printf("%s:%u: %s\n", file, first + 1, title);
        return;
    }
    stage.verbose = o->verbose;
    stage.report = report;
    stage.report_size = sizeof(report);
    stage.inputs_folder = o->inputs;
    if (o->verbose)
        printf("%s:%u: %s\n", file, first + 1, title);
    stage_init(&stage, file, title);
    stage.line = first + 1;
    if (!title_good(title))
        stage_fail(&stage, "a title names what it stands for: 'RFC NUMBER SECTION: words'");
    bool going = !stage.failed;
    for (unsigned i = 0; i < prelude && going; i++)
        going = stage_line(&stage, i + 1, l->line[i]);
    for (unsigned i = first + 1; i < end && going; i++)
        going = stage_line(&stage, i + 1, l->line[i]);
    stage_finish(&stage);
    if (stage.failed) {
        failed++;
        fputs(report, stdout);
    } else {
        passed++;
    }
}

static bool run_file(const char *file, const struct options *o)
{
    static struct lines l;
    if (!read_lines(file, &l))
        return false;
    unsigned prelude = 0;
    while (prelude < l.n && strncmp(l.line[prelude], "case ", 5) != 0)
        prelude++;
    for (unsigned i = prelude; i < l.n; i++)
        if (strncmp(l.line[i], "case ", 5) == 0)
            run_case(file, &l, prelude, i, o);
    free(l.text);
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool run_folder(const char *folder, const struct options *o)
{
    DIR *d = opendir(folder);
    char *file[FILES_MAX];
    unsigned n = 0;
    bool good = true;
    if (!d) {
        fprintf(stderr, "packets: %s cannot be read\n", folder);
        return false;
    }
    for (const struct dirent *e; (e = readdir(d)) && n < FILES_MAX;) {
        size_t len = strlen(e->d_name);
        if (len > 4 && strcmp(e->d_name + len - 4, ".pkt") == 0 &&
            asprintf(&file[n], "%s/%s", folder, e->d_name) > 0)
            n++;
    }
    closedir(d);
    qsort(file, n, sizeof(file[0]), by_name);
    for (unsigned i = 0; i < n; i++) {
        good = run_file(file[i], o) && good;
        free(file[i]);
    }
    return good;
}

int main(int argc, char **argv)
{
    struct options o = {0};
    static const struct option options[] = {{"case", 1, 0, 'c'},    {"list", 0, 0, 'l'},
                                            {"verbose", 0, 0, 'v'}, {"inputs", 1, 0, 'i'},
                                            {"help", 0, 0, 'h'},    {0}};
    for (int k; (k = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (k) {
        case 'c':
            o.only = optarg;
            break;
        case 'l':
            o.list = true;
            break;
        case 'v':
            o.verbose = true;
            break;
        case 'i':
            o.inputs = optarg;
            break;
        default:
            usage(k == 'h' ? stdout : stderr);
            return k == 'h' ? 0 : 2;
        }
    }
    if (optind == argc) {
        usage(stderr);
        return 2;
    }
    bool good = true;
    for (int i = optind; i < argc; i++) {
        struct stat s;
        bool folder = stat(argv[i], &s) == 0 && S_ISDIR(s.st_mode);
        good = (folder ? run_folder(argv[i], &o) : run_file(argv[i], &o)) && good;
    }
    if (o.list)
        return !good;
    printf("%u passed, %u failed\n", passed, failed);
    return !good || failed || !passed;
}
