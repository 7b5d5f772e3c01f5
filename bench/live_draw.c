#include "bench/live_draw.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "bench/show.h"
#include "common/table.h"

#define BAR_LEAST 8 // columns below which a bar says nothing
#define BAR_MOST 32
#define GRAPH_ROWS 4
#define HISTOGRAM_ROWS_MAX 12
#define LABEL_WIDTH 10 // at the left of the graph and the histogram

// --- state ---------------------------------------------------------------------------------------

void live_reset(struct live_state *s)
{
    memset(s, 0, sizeof(*s));
    s->phase = -1;
    s->per_sample = 1;
    histogram_reset(&s->latency);
}

static void add_sample(struct live_state *s, double rate)
{
    s->sum += rate;
    if (++s->noted < s->per_sample)
        return;
    s->samples[s->n_samples++] = s->sum / s->noted;
    s->sum = 0;
    s->noted = 0;
    if (s->n_samples < LIVE_SAMPLES_MAX)
        return;
    for (unsigned i = 0; i < LIVE_SAMPLES_MAX / 2; i++)
        s->samples[i] = (s->samples[2 * i] + s->samples[2 * i + 1]) / 2;
    s->n_samples = LIVE_SAMPLES_MAX / 2;
    s->per_sample *= 2;
}

void live_note(struct live_state *s, const struct progress *p)
{
    const char *name = p->name ? p->name : "";
    if (s->phase != (int)p->phase || s->step != p->step ||
        strncmp(s->name, name, sizeof(s->name) - 1) != 0) {
        live_reset(s);
        s->phase = (int)p->phase;
        s->step = p->step;
        snprintf(s->name, sizeof(s->name), "%s", name);
    }
    add_sample(s, p->rate);
    if (p->latency)
        histogram_merge(&s->latency, p->latency);
}

// --- pieces --------------------------------------------------------------------------------------

struct text {
    char *to;
    size_t size, at;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = t->at < t->size ? vsnprintf(t->to + t->at, t->size - t->at, format, args) : 0;
    va_end(args);
    t->at += n > 0 ? (size_t)n : 0;
    if (t->at >= t->size)
        t->at = t->size - 1;
}

// One byte, one column: so that widths can be counted.
static void name_of(const struct progress *p, char *to, size_t size)
{
    snprintf(to, size, "%s", p->name ? p->name : "");
    for (char *c = to; *c; c++)
        if ((unsigned char)*c < ' ' || (unsigned char)*c > '~')
            *c = '?';
}

static const char *time_of(uint64_t ns)
{
    static const char *const none = "-";
    return ns ? human_us((int64_t)((ns + 500) / 1000)) : none;
}

// 0 … 1, below 0 when the end is not known.
static double done_of(const struct progress *p)
{
    if (p->of_requests)
        return fmin(1, (double)p->requests / (double)p->of_requests);
    return p->of_seconds > 0 ? fmin(1, p->seconds / p->of_seconds) : -1;
}

// Seconds until the end at the mean speed until now; below 0 when it is not known.
static double left_of(const struct progress *p)
{
    double done = done_of(p);
    return done > 0 ? p->seconds * (1 - done) / done : -1;
}

static const char *phase_of(const struct progress *p)
{
    switch (p->phase) {
    case PHASE_CONNECT:
        return "connecting";
    case PHASE_FILL:
        return "filling";
    case PHASE_WARMUP:
        return "warming up";
    default:
        return "measuring";
    }
}

static void put_bar(struct text *t, double done, unsigned width)
{
    char bar[3 * BAR_MOST + 1];
    unsigned used = show_bar(bar, done, width, false);
    put(t, "[%s%.*s]", bar, (int)(width - used), "--------------------------------");
}

// --- the line ------------------------------------------------------------------------------------

static void put_figures(struct text *t, const struct progress *p)
{
    put(t, "  %s", show_rate(p->rate).text);
    if (p->wanted > 0)
        put(t, " of %s", show_rate(p->wanted).text);
    put(t, " req/s");
    if (p->phase == PHASE_FILL) {
        double left = left_of(p);
        if (left >= 0)
            put(t, "  %s left", human_seconds(left));
    } else if (p->latency && p->latency->total) {
        put(t, "  p50 %s", time_of(histogram_percentile(p->latency, 50)));
        put(t, "  p99 %s", time_of(histogram_percentile(p->latency, 99)));
        put(t, "  max %s", time_of(p->latency->max));
    }
    if (p->errors)
        put(t, "  %s errors", show_count(p->errors).text);
    if (p->wrong)
        put(t, "  %s WRONG", show_count(p->wrong).text);
}

void live_line(const struct progress *p, unsigned width, char *to)
{
    char name[32], figures[LIVE_LINE_MAX];
    struct text right = {figures, sizeof(figures), 0}, line = {to, LIVE_LINE_MAX, 0};
    if (width > LIVE_WIDTH_MAX)
        width = LIVE_WIDTH_MAX;
    *to = *figures = 0;
    name_of(p, name, sizeof(name));
    if (p->phase != PHASE_CONNECT)
        put_figures(&right, p);
    if (p->phase == PHASE_FILL || p->phase == PHASE_CONNECT)
        put(&line, "%s", phase_of(p));
    else if (p->phase == PHASE_WARMUP)
        put(&line, "%s warming up", name);
    else
        put(&line, "%s", name);
    if (p->steps)
        put(&line, " %u/%u", p->step + 1, p->steps);
    if (p->phase == PHASE_CONNECT)
        put(&line, "  %s connections", show_count(p->connections).text);
    double done = done_of(p);
    size_t used = line.at + right.at + 2 + 2 + 6; // spaces, brackets, " 100 %"
    if (done >= 0 && used + BAR_LEAST <= width) {
        put(&line, "  ");
        put_bar(&line, done, width - used < BAR_MOST ? (unsigned)(width - used) : BAR_MOST);
        put(&line, " %3.0f %%", floor(done * 100));
    } else if (done < 0) {
        put(&line, "  %s", human_seconds(p->seconds));
    }
    put(&line, "%s", figures);
    if (line.at > width) // all of it is ASCII
        to[width] = 0;
}

// --- the screen ----------------------------------------------------------------------------------

// Cuts what it is given to the screen: lines to its width, and lines that find no room.
struct page {
    FILE *to;
    unsigned width, left; // columns; lines
};

static void end_line(struct page *page, const char *text)
{
    if (page->left == 0)
        return;
    page->left--;
    for (unsigned columns = 0; *text && columns < page->width; columns++) {
        unsigned len = show_utf8_length(text);
        fwrite(text, 1, len ? len : 1, page->to);
        text += len ? len : 1;
    }
    putc('\n', page->to);
}

__attribute__((format(printf, 2, 3))) static void line(struct page *page, const char *format, ...)
{
    char text[LIVE_LINE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    end_line(page, text);
}

static void draw_head(struct page *page, const struct options *o, const struct progress *p)
{
    char name[64], bar[LIVE_LINE_MAX] = "";
    struct text t = {bar, sizeof(bar), 0};
    name_of(p, name, sizeof(name));
    if (o->unix_path)
        line(page, "%s  %s  %s", name, phase_of(p), o->unix_path);
    else
        line(page, "%s  %s  %s:%u%s", name, phase_of(p), o->host ? o->host : "", o->port,
             o->transport == BENCH_DPDK ? " over dpdk" : "");
    double done = done_of(p), left = left_of(p);
    if (p->steps)
        put(&t, "step %u/%u ", p->step + 1, p->steps);
    if (done >= 0) {
        put_bar(&t, done, BAR_MOST);
        put(&t, " %3.0f %%  ", floor(done * 100));
    }
    put(&t, "%s", human_seconds(p->seconds));
    if (left >= 0)
        put(&t, ", %s left", human_seconds(left));
    end_line(page, bar);
}

// The mean of the samples that column `x` of `columns` stands for.
static double column_value(const struct live_state *s, unsigned x, unsigned columns)
{
    unsigned begin = (unsigned)((uint64_t)x * s->n_samples / columns);
    unsigned end = (unsigned)((uint64_t)(x + 1) * s->n_samples / columns);
    double sum = 0;
    for (unsigned i = begin; i < end; i++)
        sum += s->samples[i];
    return end > begin ? sum / (end - begin) : 0;
}

// What stands in one cell of a column that is `eighths` high within it.
static const char *cell(int eighths, bool utf8)
{
    static const char *const blocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const ascii[] = {" ", ".", ".", ".", ":", ":", ":", "#", "#"};
    int i = eighths < 0 ? 0 : eighths > 8 ? 8 : eighths;
    return utf8 ? blocks[i] : ascii[i];
}

static void draw_graph(struct page *page, const struct live_state *s, bool utf8)
{
    double most = 0;
    unsigned columns = page->width > LABEL_WIDTH + 1 ? page->width - LABEL_WIDTH - 1 : 1;
    if (columns > s->n_samples)
        columns = s->n_samples;
    for (unsigned i = 0; i < s->n_samples; i++)
        most = fmax(most, s->samples[i]);
    for (int row = GRAPH_ROWS - 1; row >= 0; row--) {
        char text[LIVE_LINE_MAX] = "";
        struct text t = {text, sizeof(text), 0};
        const char *label = row == GRAPH_ROWS - 1 ? human_count((int64_t)most) : row ? "" : "0";
        put(&t, "%*s ", LABEL_WIDTH, label);
        for (unsigned x = 0; x < columns; x++) {
            double share = most > 0 ? column_value(s, x, columns) / most : 0;
            put(&t, "%s", cell((int)(share * GRAPH_ROWS * 8 + 0.5) - row * 8, utf8));
        }
        end_line(page, text);
    }
}

static void draw_throughput(struct page *page, const struct live_state *s, const struct progress *p,
                            bool utf8)
{
    double least = INFINITY, most = 0, sum = 0;
    for (unsigned i = 0; i < s->n_samples; i++) {
        least = fmin(least, s->samples[i]);
        most = fmax(most, s->samples[i]);
        sum += s->samples[i];
    }
    char wanted[48] = "";
    if (p->wanted > 0)
        snprintf(wanted, sizeof(wanted), " of %s", show_rate(p->wanted).text);
    if (s->n_samples)
        line(page, "throughput %s%s requests/s  (least %s, mean %s, most %s)",
             show_rate(p->rate).text, wanted, human_count((int64_t)least),
             human_count((int64_t)(sum / s->n_samples)), human_count((int64_t)most));
    else
        line(page, "throughput %s%s requests/s", show_rate(p->rate).text, wanted);
    draw_graph(page, s, utf8);
}

static void draw_percentiles(struct page *page, const char *label, const struct histogram *h)
{
    static const double percents[] = {50, 90, 99, 99.9, 99.99};
    char text[LIVE_LINE_MAX] = "";
    struct text t = {text, sizeof(text), 0};
    put(&t, "%-*s", LABEL_WIDTH, label);
    for (unsigned i = 0; i < sizeof(percents) / sizeof(percents[0]); i++)
        put(&t, " %9s", time_of(histogram_percentile(h, percents[i])));
    put(&t, " %9s", time_of(h->total ? h->max : 0));
    end_line(page, text);
}

// Rows of equal ratio from the least to nearly the largest; what is above falls into the last.
static void draw_histogram(struct page *page, const struct histogram *h, unsigned rows, bool utf8)
{
    uint64_t counts[HISTOGRAM_ROWS_MAX] = {0}, most = 0;
    double low = fmax(1, (double)h->min), high = (double)histogram_percentile(h, 99.9);
    if (h->total == 0 || rows == 0)
        return;
    double span = high > low ? log(high / low) : 0;
    if (span == 0)
        rows = 1;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (!h->counts[i])
            continue;
        double at = span > 0 ? log(fmax(1, (double)histogram_upper(i) / low)) / span * rows : 0;
        counts[at < rows ? (unsigned)at : rows - 1] += h->counts[i];
    }
    for (unsigned i = 0; i < rows; i++)
        most = counts[i] > most ? counts[i] : most;
    unsigned width = page->width > LABEL_WIDTH + 12 ? page->width - LABEL_WIDTH - 12 : 1;
    for (unsigned i = 0; i < rows; i++) {
        char bar[3 * LIVE_WIDTH_MAX + 1];
        uint64_t from = (uint64_t)(low * exp(span * i / rows));
        show_bar(bar, (double)counts[i] / (double)most, width, utf8);
        line(page, "%*s %7.3f %% %s", LABEL_WIDTH, time_of(from),
             100.0 * (double)counts[i] / (double)h->total, bar);
    }
}

void live_screen(FILE *to, const struct live_state *s, const struct options *o,
                 const struct progress *p, unsigned width, unsigned height, bool utf8)
{
    struct page page = {to, width < LIVE_WIDTH_MAX ? width : LIVE_WIDTH_MAX, height};
    draw_head(&page, o, p);
    line(&page, "%s connections, %s errors, %s wrong", show_count(p->connections).text,
         show_count(p->errors).text, show_count(p->wrong).text);
    end_line(&page, "");
    draw_throughput(&page, s, p, utf8);
    end_line(&page, "");
    line(&page, "%-*s %9s %9s %9s %9s %9s %9s", LABEL_WIDTH, "latency", "p50", "p90", "p99",
         "p99.9", "p99.99", "max");
    if (p->latency)
        draw_percentiles(&page, "now", p->latency);
    draw_percentiles(&page, "so far", &s->latency);
    end_line(&page, "");
    draw_histogram(&page, &s->latency,
                   page.left < HISTOGRAM_ROWS_MAX ? page.left : HISTOGRAM_ROWS_MAX, utf8);
}
