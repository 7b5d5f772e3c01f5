#include "common/table.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES (TABLE_COLUMNS_MAX * (TABLE_CELL_MAX + 2) + 1)

static bool plain(void)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    return (no_color && *no_color) || !isatty(STDOUT_FILENO) || (term && !strcmp(term, "dumb"));
}

void table_heading(const char *text)
{
    printf(plain() ? "%s\n" : "\033[1m%s\033[0m\n", text);
}

void table_init(struct table *t, unsigned columns, const char *const *names, uint32_t right)
{
    assert(columns <= TABLE_COLUMNS_MAX);
    *t = (struct table){.columns = columns, .names = names, .right = right};
}

void table_put(struct table *t, const char *format, ...)
{
    if (t->rows == t->cap && t->column == 0) {
        size_t cap = t->cap ? t->cap * 2 : 16;
        void *cells = realloc(t->cells, cap * t->columns * sizeof(*t->cells));
        if (!cells)
            return;
        t->cells = cells;
        t->cap = cap;
    }
    char *cell = t->cells[t->rows * t->columns + t->column];
    va_list args;
    va_start(args, format);
    vsnprintf(cell, TABLE_CELL_MAX, format, args);
    va_end(args);
    // What a peer may have named is shown, not obeyed, by the terminal.
    for (char *c = cell; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    if (++t->column == t->columns) {
        t->column = 0;
        t->rows++;
    }
}

// Appends a cell to a line and returns the line's new length.
static size_t cell_append(const struct table *t, unsigned column, const char *text, int width,
                          char *line, size_t len)
{
    int right = (t->right & (1u << column)) != 0;
    int n = snprintf(line + len, LINE_MAX_BYTES - len, right ? "%*s  " : "%-*s  ", width, text);
    return n > 0 && len + (size_t)n < LINE_MAX_BYTES ? len + (size_t)n : len;
}

static void line_print(FILE *to, const char *line, size_t len, unsigned indent, const char *before,
                       const char *after)
{
    while (len && line[len - 1] == ' ')
        len--;
    fprintf(to, "%*s%s%.*s%s\n", (int)indent, "", before, (int)len, line, after);
}

// The labels of groups of columns, each above the first column of its group.
static void groups_print(const struct table *t, FILE *to, const int *width, unsigned indent)
{
    char line[LINE_MAX_BYTES];
    size_t at = 0;
    memset(line, ' ', sizeof(line));
    for (unsigned i = 0; i < t->columns; i++) {
        size_t len = t->groups[i] ? strlen(t->groups[i]) : 0;
        if (at + len < sizeof(line))
            memcpy(line + at, t->groups[i] ? t->groups[i] : "", len);
        at += (size_t)width[i] + 2;
    }
    line_print(to, line, sizeof(line), indent, "", "");
}

void table_print(struct table *t, unsigned indent, bool header)
{
    table_write(t, stdout, indent, header);
}

void table_write(struct table *t, FILE *to, unsigned indent, bool header)
{
    bool bold = to == stdout && !plain();
    int width[TABLE_COLUMNS_MAX];
    for (unsigned i = 0; i < t->columns; i++) {
        width[i] = header ? (int)strlen(t->names[i]) : 0;
        for (size_t row = 0; row < t->rows; row++) {
            int n = (int)strlen(t->cells[row * t->columns + i]);
            if (n > width[i])
                width[i] = n;
        }
    }
    char line[LINE_MAX_BYTES] = "";
    if (header && t->groups)
        groups_print(t, to, width, indent);
    if (header) {
        size_t len = 0;
        for (unsigned i = 0; i < t->columns; i++)
            len = cell_append(t, i, t->names[i], width[i], line, len);
        line_print(to, line, len, indent, bold ? "\033[1m" : "", bold ? "\033[0m" : "");
    }
    for (size_t row = 0; row < t->rows; row++) {
        size_t len = 0;
        for (unsigned i = 0; i < t->columns; i++)
            len = cell_append(t, i, t->cells[row * t->columns + i], width[i], line, len);
        line_print(to, line, len, indent, "", "");
    }
    free(t->cells);
    t->cells = NULL;
    t->rows = t->cap = 0;
}

// --- figures -------------------------------------------------------------------------------------

static char *next_text(void)
{
    static char texts[8][32];
    static unsigned at;
    return texts[at++ % 8];
}

static const char *scaled(double value, double step, const char *const *units, unsigned n)
{
    char *text = next_text();
    unsigned unit = 0;
    while ((value >= step || value <= -step) && unit + 1 < n) {
        value /= step;
        unit++;
    }
    int digits = unit == 0 ? 0 : value < 10 ? 2 : value < 100 ? 1 : 0;
    snprintf(text, 32, "%.*f%s%s", digits, value, *units[unit] ? " " : "", units[unit]);
    return text;
}

const char *human_bytes(int64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    return scaled((double)bytes, 1024, units, 6);
}

const char *human_count(int64_t n)
{
    static const char *const units[] = {"", "k", "M", "G", "T"};
    if (n < 100000 && n > -100000) {
        char *text = next_text();
        snprintf(text, 32, "%lld", (long long)n);
        return text;
    }
    return scaled((double)n, 1000, units, 5);
}

const char *human_us(int64_t us)
{
    char *text = next_text();
    if (us < 1000)
        snprintf(text, 32, "%lld us", (long long)us);
    else if (us < 1000000)
        snprintf(text, 32, "%.2f ms", (double)us / 1e3);
    else
        snprintf(text, 32, "%.2f s", (double)us / 1e6);
    return text;
}

const char *human_seconds(double s)
{
    char *text = next_text();
    long long n = (long long)s;
    if (n < 60)
        snprintf(text, 32, "%.1f s", s);
    else if (n < 3600)
        snprintf(text, 32, "%lld min %lld s", n / 60, n % 60);
    else if (n < 86400)
        snprintf(text, 32, "%lld h %lld min", n / 3600, n % 3600 / 60);
    else
        snprintf(text, 32, "%lld d %lld h", n / 86400, n % 86400 / 3600);
    return text;
}
