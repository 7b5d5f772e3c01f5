// Instructions where the processor's counter cannot be read: this program runs itself under
// callgrind, which collects inside measured sections alone and writes a file after each stage.
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/micro/plan.h"

#define ARGUMENTS_MAX (STAGES_ALL_MAX * 2 + 32)
#define STATUS_NO_VALGRIND 127

#ifdef __AVX512F__
static const bool uses_avx512 = true;
#else
static const bool uses_avx512 = false;
#endif

// The sum that callgrind writes at the end of a file of costs. Negative: there is none.
static double read_total(const char *path)
{
    FILE *f = fopen(path, "r");
    char line[4096];
    double total = -1;
    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, "totals:", 7) == 0 || strncmp(line, "summary:", 8) == 0)
            total = strtod(strchr(line, ':') + 1, NULL);
    if (f)
        fclose(f);
    return total;
}

static const struct stage *stage_named(const struct plan *p, const char *name)
{
    for (unsigned i = 0; i < p->n_stages; i++)
        if (strcmp(p->stages[i].name, name) == 0)
            return &p->stages[i];
    return NULL;
}

static void start(const struct plan *p, const char *self, const char *folder)
{
    static char keys[256], values[32], out[256];
    static char *argv[ARGUMENTS_MAX];
    unsigned n = 0;
    size_t at = 0;
    for (unsigned i = 0; i < p->n_keys; i++)
        at += (size_t)snprintf(keys + at, sizeof(keys) - at, "%s%lu", i ? "," : "",
                               (unsigned long)p->keys[i]);
    snprintf(values, sizeof(values), "%lu", (unsigned long)p->values);
    snprintf(out, sizeof(out), "--callgrind-out-file=%s/costs", folder);
    argv[n++] = (char *)"valgrind";
    argv[n++] = (char *)"--tool=callgrind";
    argv[n++] = (char *)"-q";
    argv[n++] = (char *)"--collect-atstart=no";
    argv[n++] = (char *)"--toggle-collect=" MICRO_SECTION;
    argv[n++] = (char *)"--dump-after=" MICRO_DUMP;
    argv[n++] = out;
    argv[n++] = (char *)self;
    argv[n++] = (char *)"--counted";
    argv[n++] = (char *)"--keys";
    argv[n++] = keys;
    argv[n++] = (char *)"--values";
    argv[n++] = values;
    if (p->offloads)
        argv[n++] = (char *)"--offloads";
    for (unsigned i = 0; i < p->n_stages; i++)
        if (p->chosen[i]) {
            argv[n++] = (char *)"--stage";
            argv[n++] = (char *)p->stages[i].name;
        }
    execvp(argv[0], argv);
    _exit(STATUS_NO_VALGRIND);
}

// A line of the counted process: stage, keys, operations. Its costs are in the next file.
static bool take_line(const struct plan *p, const char *line, const char *folder, struct results *r)
{
    char name[STAGE_NAME_MAX], path[256];
    unsigned long keys, ops;
    if (sscanf(line, "%31s %lu %lu", name, &keys, &ops) != 3 || !ops || r->n == RESULTS_MAX)
        return false;
    struct result *to = &r->at[r->n++];
    *to = (struct result){
        .stage = stage_named(p, name), .keys = keys, .ops = ops, .instructions = NAN};
    snprintf(path, sizeof(path), "%s/costs.%u", folder, r->n);
    double total = read_total(path);
    if (total > 0)
        to->instructions = total / (double)ops;
    unlink(path);
    return to->stage != NULL;
}

bool callgrind_possible(char *error, size_t size)
{
    if (uses_avx512)
        snprintf(error, size,
                 "--callgrind: this build uses AVX-512, which valgrind cannot run; make another "
                 "with 'meson setup build-callgrind -Dmarch=x86-64-v3 && ninja -C build-callgrind "
                 "pollux-micro'");
    return !uses_avx512;
}

bool callgrind_run(const struct plan *p, struct results *r,
                   void (*each)(const struct result *result), char *error, size_t size)
{
    char folder[] = "/tmp/pollux-micro.XXXXXX", self[256] = "", path[300], line[256];
    int fds[2];
    if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0 || !mkdtemp(folder) || pipe(fds)) {
        snprintf(error, size, "--callgrind: %s", strerror(errno));
        return false;
    }
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        dup2(fds[1], 1);
        close(fds[0]);
        start(p, self, folder);
    }
    close(fds[1]);
    FILE *from = child > 0 ? fdopen(fds[0], "r") : NULL;
    bool good = from;
    unsigned long replies = 0;
    while (good && fgets(line, sizeof(line), from)) {
        if (sscanf(line, "replies %lu", &replies) == 1)
            continue;
        good = take_line(p, line, folder, r);
        if (good && each)
            each(&r->at[r->n - 1]);
    }
    int status = 0;
    if (from)
        fclose(from);
    if (child > 0)
        waitpid(child, &status, 0);
    snprintf(path, sizeof(path), "%s/costs", folder);
    unlink(path);
    rmdir(folder);
    r->replies = replies;
    if (good && WIFEXITED(status) && WEXITSTATUS(status) == 0 && r->n)
        return true;
    if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_NO_VALGRIND)
        snprintf(error, size,
                 "--callgrind: valgrind is not installed; install it with "
                 "config/install-packages bench");
    else
        snprintf(error, size, "--callgrind: the process under valgrind failed%s",
                 WIFSIGNALED(status) && WTERMSIG(status) == 4
                     ? ": it met an instruction that valgrind does not know; build with "
                       "-Dmarch=x86-64-v3"
                     : "");
    return false;
}
