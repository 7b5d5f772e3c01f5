#include "bench/micro/results.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

const char *const alone_part_names[ALONE_PARTS] = {"frames in",     "parser", "command",
                                                   "slot and hash", "fetch",  "look-up",
                                                   "handler",       "reply",  "frames out"};

// --- a request from its stages

static const struct result *find(const struct results *r, const char *name, unsigned size,
                                 uint64_t keys)
{
    for (unsigned i = 0; i < r->n; i++)
        if (strcmp(r->at[i].stage->kind->name, name) == 0 && r->at[i].stage->size == size &&
            r->at[i].keys == keys)
            return &r->at[i];
    return NULL;
}

static double rest(double whole, double parts)
{
    return whole > parts ? whole - parts : 0; // measured apart, they may overlap
}

bool results_alone(const struct results *r, const struct result *request, double *part)
{
    bool get = request->stage->kind->reply == '$';
    unsigned n = request->stage->size;
    const struct request_figures *f = &request->figures;
    // Of the batches that look-ups were measured in, the largest that is not larger than the
    // core's.
    unsigned batch = 1;
    while (f->batches && batch < 256 && (uint64_t)batch * 4 * f->batches <= f->requests)
        batch *= 4;
    const struct result *in = find(r, "frame-in", n, 0), *out = find(r, "frame-out", n, 0);
    const struct result *parse = find(r, get ? "parse-get" : "parse-set", n, 0);
    const struct result *command = find(r, "command", 0, 0), *key = find(r, "slot-hash", 0, 0);
    const struct result *gather = find(r, get ? "gather-get" : "gather-set", n, request->keys);
    const struct result *execute = find(r, get ? "execute-get" : "execute-set", n, request->keys);
    const struct result *lookup = find(r, "lookup-hit", batch, request->keys);
    const struct result *fetch = find(r, "fetch", batch, request->keys);
    const struct result *reply = find(r, get ? "reply-bulk" : "reply-status", 0, 0);
    if (!in || !out || !parse || !command || !key || !gather || !execute || !lookup || !fetch ||
        !reply || !f->requests)
        return false;
    part[ALONE_FRAMES_IN] = in->cycles * (double)f->frames_in / (double)f->requests;
    part[ALONE_PARSER] = parse->cycles;
    part[ALONE_COMMAND] = command->cycles;
    part[ALONE_KEY] = key->cycles;
    part[ALONE_FETCH] = rest(gather->cycles, parse->cycles + command->cycles + key->cycles);
    part[ALONE_LOOKUP] = rest(lookup->cycles, fetch->cycles);
    part[ALONE_REPLY] = reply->cycles;
    part[ALONE_HANDLER] = rest(execute->cycles, part[ALONE_LOOKUP] + reply->cycles);
    part[ALONE_FRAMES_OUT] = out->cycles * (double)f->frames_out / (double)f->requests;
    return true;
}

// --- text

static void count_text(char *to, size_t size, uint64_t n)
{
    if (n && n % 1000000 == 0)
        snprintf(to, size, "%lum", (unsigned long)(n / 1000000));
    else if (n && n % 1000 == 0)
        snprintf(to, size, "%luk", (unsigned long)(n / 1000));
    else if (n)
        snprintf(to, size, "%lu", (unsigned long)n);
    else
        snprintf(to, size, "-");
}

void results_machine(const struct results *r, bool callgrind, FILE *to)
{
    const struct machine *m = &r->machine;
    fprintf(to, "%s, %u CPU%s, %s, built for %s\n", m->processor, m->cpus, m->cpus == 1 ? "" : "s",
            m->kernel, m->built_for);
    fprintf(to, "pages of %ld KiB, transparent hugepages: %s; ", m->page_bytes / 1024,
            m->huge_pages);
    if (callgrind) {
        fprintf(to, "instructions an operation, as callgrind counts them\n\n");
        return;
    }
    fprintf(to, "time-stamp counter %.3f GHz%s\n", m->tsc_hz / 1e9,
            m->tsc_invariant ? "" : ", NOT invariant: cycles mean little");
    if (!m->counts_instructions)
        fprintf(to, "no counter of instructions can be read here; --callgrind counts them\n");
    fprintf(to, "cycles of that counter an operation: the median of rounds, and what a tenth of "
                "them is below and above\n\n");
}

void results_head(FILE *to)
{
    fprintf(to, "%-22s %6s %9s %9s %9s %9s  %s\n", "stage", "keys", "cycles", "p10", "p90",
            "instr.", "for one");
}

void results_row(const struct result *r, FILE *to)
{
    char keys[32], instructions[32] = "-";
    count_text(keys, sizeof(keys), r->keys);
    if (!isnan(r->instructions))
        snprintf(instructions, sizeof(instructions), "%.1f", r->instructions);
    if (r->rounds)
        fprintf(to, "%-22s %6s %9.1f %9.1f %9.1f %9s  %s\n", r->stage->name, keys, r->cycles,
                r->low, r->high, instructions, r->stage->kind->unit);
    else
        fprintf(to, "%-22s %6s %9s %9s %9s %9s  %s\n", r->stage->name, keys, "-", "-", "-",
                instructions, r->stage->kind->unit);
    fflush(to);
}

// One cell for each of `n` parts, neighbours easily told apart.
static const char *const blocks[] = {"█", "░", "▓", "▚", "▒", "▞", "▄", "▪", "▀"};
static const char *const letters[] = {"#", ".", "=", "%", "-", "+", "o", ":", "@"};

static void bar(const double *part, unsigned n, double scale, const struct look *look, FILE *to)
{
    double sum = 0;
    unsigned drawn = 0;
    for (unsigned i = 0; i < n; i++) {
        sum += part[i]; // rounded by where it ends, so that the whole has the right length
        for (; drawn < (unsigned)(sum * scale + 0.5); drawn++)
            fputs(look->ascii ? letters[i] : blocks[i], to);
    }
}

static double sum_of(const double *part, unsigned n)
{
    double sum = 0;
    for (unsigned i = 0; i < n; i++)
        sum += part[i];
    return sum;
}

static void legend(const char *const *names, unsigned n, const struct look *look, FILE *to)
{
    fputs("          ", to);
    for (unsigned i = 0; i < n; i++)
        fprintf(to, " %s %s ", look->ascii ? letters[i] : blocks[i], names[i]);
    fputc('\n', to);
}

static void parts_line(const char *const *names, const double *part, unsigned n, FILE *to)
{
    fputs("           ", to);
    for (unsigned i = 0; i < n; i++)
        fprintf(to, "%s%s %.0f", i ? ", " : "", names[i], part[i]);
    fputc('\n', to);
}

static bool is_request(const struct result *r)
{
    return r->stage->kind->needs == NEEDS_REQUESTS && r->rounds;
}

void results_bars(const struct results *r, const struct look *look, FILE *to)
{
    double longest = 0;
    double alone[ALONE_PARTS];
    for (unsigned i = 0; i < r->n; i++)
        if (is_request(&r->at[i])) {
            longest = fmax(longest, r->at[i].cycles);
            if (results_alone(r, &r->at[i], alone))
                longest = fmax(longest, sum_of(alone, ALONE_PARTS));
        }
    if (longest <= 0)
        return;
    double scale = (double)(look->columns - 24) / longest;
    fprintf(to, "\nWhere the cycles of a request go. In place: the server's turn as it runs, from "
                "the port's frames to the\nport's frames, clients and port left out. Alone: its "
                "stages, measured apart, added up.\n\n");
    legend(turn_part_names, TURN_PARTS, look, to);
    legend(alone_part_names, ALONE_PARTS, look, to);
    for (unsigned i = 0; i < r->n; i++) {
        const struct result *q = &r->at[i];
        if (!is_request(q))
            continue;
        char keys[32];
        count_text(keys, sizeof(keys), q->keys);
        fprintf(to, "\n%s, pipeline %u, %s keys: %.0f cycles (%.0f ns), batches of %.0f\n",
                q->stage->kind->reply == '$' ? "GET" : "SET", q->stage->size, keys, q->cycles,
                q->cycles / r->machine.tsc_hz * 1e9,
                (double)q->figures.requests / (double)q->figures.batches);
        fputs("  in place ", to);
        bar(q->figures.part, TURN_PARTS, scale, look, to);
        fprintf(to, " %.0f\n", q->cycles);
        parts_line(turn_part_names, q->figures.part, TURN_PARTS, to);
        if (!results_alone(r, q, alone))
            continue;
        double sum = sum_of(alone, ALONE_PARTS);
        fputs("  alone    ", to);
        bar(alone, ALONE_PARTS, scale, look, to);
        fprintf(to, " %.0f (%.0f %% of the whole)\n", sum, 100 * sum / q->cycles);
        parts_line(alone_part_names, alone, ALONE_PARTS, to);
    }
}

// --- JSON

static json_t *parts_json(const char *const *names, const double *part, unsigned n)
{
    json_t *o = json_object();
    for (unsigned i = 0; i < n; i++)
        json_object_set_new(o, names[i], json_real(part[i]));
    return o;
}

static json_t *result_json(const struct results *r, const struct result *q)
{
    json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:I}", "stage", q->stage->name, "unit",
                          q->stage->kind->unit, "keys", (json_int_t)q->keys, "operations",
                          (json_int_t)q->ops, "rounds", (json_int_t)q->rounds);
    if (q->rounds) {
        json_object_set_new(o, "cycles", json_real(q->cycles));
        json_object_set_new(o, "cycles_p10", json_real(q->low));
        json_object_set_new(o, "cycles_p90", json_real(q->high));
    }
    json_object_set_new(o, "instructions",
                        isnan(q->instructions) ? json_null() : json_real(q->instructions));
    if (!is_request(q))
        return o;
    double alone[ALONE_PARTS];
    const struct request_figures *f = &q->figures;
    json_object_set_new(o, "counts",
                        json_pack("{s:I, s:I, s:I, s:I}", "requests", (json_int_t)f->requests,
                                  "frames_in", (json_int_t)f->frames_in, "frames_out",
                                  (json_int_t)f->frames_out, "batches", (json_int_t)f->batches));
    json_object_set_new(o, "in_place", parts_json(turn_part_names, f->part, TURN_PARTS));
    if (results_alone(r, q, alone))
        json_object_set_new(o, "alone", parts_json(alone_part_names, alone, ALONE_PARTS));
    return o;
}

bool results_json(const struct results *r, FILE *to)
{
    const struct machine *m = &r->machine;
    json_t *stages = json_array(), *tables = json_array();
    for (unsigned i = 0; i < r->n; i++)
        json_array_append_new(stages, result_json(r, &r->at[i]));
    for (unsigned i = 0; i < r->n_tables; i++)
        json_array_append_new(
            tables, json_pack("{s:I, s:I, s:I, s:I}", "keys", (json_int_t)r->tables[i].keys,
                              "bytes", (json_int_t)r->tables[i].bytes, "resident_bytes",
                              (json_int_t)r->tables[i].resident_bytes, "huge_page_bytes",
                              (json_int_t)r->tables[i].huge_bytes));
    json_t *all = json_pack(
        "{s:s, s:{s:s, s:s, s:f, s:b, s:b, s:s, s:i, s:I, s:s}, s:I, s:o, s:o}", "version",
        POLLUX_VERSION, "machine", "processor", m->processor, "kernel", m->kernel, "tsc_hz",
        m->tsc_hz, "tsc_invariant", m->tsc_invariant, "counts_instructions", m->counts_instructions,
        "built_for", m->built_for, "cpus", (int)m->cpus, "page_bytes", (json_int_t)m->page_bytes,
        "transparent_hugepages", m->huge_pages, "replies_checked", (json_int_t)r->replies, "tables",
        tables, "stages", stages);
    bool ok = all && json_dumpf(all, to, JSON_INDENT(2) | JSON_REAL_PRECISION(7)) == 0 &&
              fputc('\n', to) != EOF;
    json_decref(all);
    return ok;
}

// --- a plot

bool results_plot(const struct results *r, const char *path, char *error, size_t size)
{
    const char *ending = strrchr(path, '.');
    bool png = ending && strcmp(ending, ".png") == 0;
    if (!png && (!ending || strcmp(ending, ".svg") != 0)) {
        snprintf(error, size, "--plot %s: the name must end with .svg or .png", path);
        return false;
    }
    if (strpbrk(path, "'\n\\")) {
        snprintf(error, size, "--plot: the name must hold no quote and no backslash");
        return false;
    }
    FILE *p = popen("gnuplot", "w");
    if (!p) {
        snprintf(error, size, "--plot: gnuplot cannot be started; install gnuplot-nox");
        return false;
    }
    fprintf(p, "set terminal %s size 1000,600\nset output '%s'\n", png ? "pngcairo" : "svg", path);
    fprintf(p, "set title \"Where the cycles of a request go: %s\"\n", r->machine.processor);
    fprintf(p, "set ylabel 'cycles a request'\nset yrange [0:*]\nset style data histograms\n"
               "set style histogram rowstacked\nset style fill solid 0.8 border -1\n"
               "set boxwidth 0.7\nset key outside right invert\nset xtics rotate by -35\n"
               "set grid ytics\n$parts << END\n");
    for (unsigned i = 0; i < r->n; i++) {
        if (!is_request(&r->at[i]))
            continue;
        char keys[32];
        count_text(keys, sizeof(keys), r->at[i].keys);
        fprintf(p, "\"%s x%u, %s keys\"", r->at[i].stage->kind->reply == '$' ? "GET" : "SET",
                r->at[i].stage->size, keys);
        for (unsigned k = 0; k < TURN_PARTS; k++)
            fprintf(p, " %.1f", r->at[i].figures.part[k]);
        fputc('\n', p);
    }
    fprintf(p, "END\nplot ");
    for (unsigned k = 0; k < TURN_PARTS; k++)
        fprintf(p, "%s$parts using %u%s title '%s'", k ? ", " : "", k + 2, k ? "" : ":xtic(1)",
                turn_part_names[k]);
    fputc('\n', p);
    if (pclose(p) == 0)
        return true;
    snprintf(error, size, "--plot: gnuplot failed; install gnuplot-nox, or look at what it said");
    return false;
}
