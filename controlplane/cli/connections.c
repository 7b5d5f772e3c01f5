// polluxctl connections: page after page from the server, filtered there. Sorted output keeps the
// best rows only, so that a million connections take no more memory here than a few.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/table.h"
#include "controlplane/cli/run.h"
#include "controlplane/cli/show.h"

#define PAGE 500           // rows that one question asks for
#define SORTED_MAX 100000u // rows that --sort keeps: about 300 MB
#define SORTED_DEFAULT 50u
// Rows wait until there are so many, so that columns stand under each other across pages.
#define ROWS_TOGETHER 1000

#define INT(v, name) resp_member_integer(v, name)
#define TEXT(v, name) resp_member_string(v, name)
#define COUNT(v, name) human_count(INT(v, name))
#define BYTES(v, name) human_bytes(INT(v, name))

// --- one row -------------------------------------------------------------------------------------

static struct table rows;
static bool rows_begun;

static void rows_print(void)
{
    if (rows.rows || !rows_begun)
        table_print(&rows, 0, !rows_begun);
    rows_begun = true;
}

static void row_show(const struct resp_value *c)
{
    static const char *const names[] = {"ID",     "CORE",    "REMOTE", "LOCAL",  "STATE",
                                        "RTT",    "CWND",    "MSS",    "WINDOW", "UNREAD",
                                        "UNSENT", "UNACKED", "IN",     "OUT",    "RETRANS"};
    if (!rows.columns)
        table_init(&rows, 15, names, 0x7fe3);
    table_put(&rows, "%lld", (long long)INT(c, "id"));
    table_put(&rows, "%lld", (long long)INT(c, "core"));
    table_put(&rows, "%s", TEXT(c, "remote"));
    table_put(&rows, "%s", TEXT(c, "local"));
    table_put(&rows, "%s", TEXT(c, "state"));
    table_put(&rows, "%s", human_us(INT(c, "rtt_us")));
    table_put(&rows, "%s", BYTES(c, "cwnd"));
    table_put(&rows, "%lld", (long long)INT(c, "mss"));
    table_put(&rows, "%s", BYTES(c, "snd_wnd"));
    table_put(&rows, "%s", BYTES(c, "unread"));
    table_put(&rows, "%s", BYTES(c, "unsent"));
    table_put(&rows, "%s", BYTES(c, "unacked"));
    table_put(&rows, "%s", BYTES(c, "bytes_in"));
    table_put(&rows, "%s", BYTES(c, "bytes_out"));
    table_put(&rows, "%s", COUNT(c, "retransmitted"));
    if (rows.rows >= ROWS_TOGETHER)
        rows_print();
}

// --- the words of ss -ti -------------------------------------------------------------------------

// "4min12sec", "3.2sec", "40ms": as ss -o shows what is left of a timer.
static const char *timer_left(int64_t us, char *text, size_t size)
{
    int64_t ms = us / 1000;
    if (ms >= 60000)
        snprintf(text, size, "%lldmin%lldsec", (long long)(ms / 60000),
                 (long long)(ms % 60000 / 1000));
    else if (ms >= 10000)
        snprintf(text, size, "%lldsec", (long long)(ms / 1000));
    else if (ms >= 1000)
        snprintf(text, size, "%.1fsec", (double)ms / 1000);
    else
        snprintf(text, size, "%lldms", (long long)ms);
    return text;
}

static void put_rate(const char *name, double bytes_per_second)
{
    static const char *const units[] = {"", "k", "M", "G", "T"};
    double bits = bytes_per_second * 8;
    unsigned i = 0;
    for (; bits >= 1000 && i < 4; i++)
        bits /= 1000;
    if (bits > 0)
        printf(" %s %.3g%sbps", name, bits, units[i]);
}

static void put_number(const char *name, int64_t value)
{
    if (value)
        printf(" %s:%lld", name, (long long)value);
}

static void put_ms(const char *name, int64_t us)
{
    if (us)
        printf(" %s:%.12g", name, (double)us / 1000);
}

static void info_head(const struct resp_value *c)
{
    printf("%-12s %lld %lld %s %s", TEXT(c, "state"), (long long)INT(c, "unread"),
           (long long)(INT(c, "unsent") + INT(c, "unacked")), TEXT(c, "local"), TEXT(c, "remote"));
    if (*TEXT(c, "timer")) {
        char left[32];
        printf(" timer:(%s,%s,%lld)", TEXT(c, "timer"),
               timer_left(INT(c, "timer_us"), left, sizeof(left)),
               (long long)INT(c, "timer_tries"));
    }
    printf(" core:%lld", (long long)INT(c, "core"));
    put_number("id", INT(c, "id"));
    if (*TEXT(c, "name"))
        printf(" name:%s", TEXT(c, "name"));
    if (*TEXT(c, "tls"))
        printf(" tls:(%s)", TEXT(c, "tls"));
    putchar('\n');
}

static void info_segments(const struct resp_value *c)
{
    put_number("bytes_sent", INT(c, "bytes_out") + INT(c, "bytes_retransmitted"));
    put_number("bytes_retrans", INT(c, "bytes_retransmitted"));
    put_number("bytes_acked", INT(c, "bytes_acked"));
    put_number("bytes_received", INT(c, "bytes_in"));
    put_number("segs_out", INT(c, "segments_out"));
    put_number("segs_in", INT(c, "segments_in"));
    put_number("data_segs_out", INT(c, "data_segments_out"));
    put_number("data_segs_in", INT(c, "data_segments_in"));
    int64_t rtt = INT(c, "rtt_us"), cwnd = INT(c, "cwnd");
    if (rtt)
        put_rate("send", (double)cwnd * 1e6 / (double)rtt);
    put_ms("lastsnd", INT(c, "last_sent_us") / 1000 * 1000);
    put_ms("lastrcv", INT(c, "last_received_us") / 1000 * 1000);
    put_ms("lastack", INT(c, "last_ack_us") / 1000 * 1000);
    put_rate("pacing_rate", (double)INT(c, "pacing_rate"));
    put_rate("delivery_rate", (double)INT(c, "delivery_rate"));
    put_number("delivered", INT(c, "delivered"));
    if (INT(c, "application_limited"))
        printf(" app_limited");
    put_ms("busy", INT(c, "busy_us"));
    put_ms("rwnd_limited", INT(c, "window_limited_us"));
    put_ms("sndbuf_limited", INT(c, "buffer_limited_us"));
}

// Bytes as the segments that ss counts.
static int64_t segments(const struct resp_value *c, const char *name)
{
    int64_t mss = INT(c, "mss");
    return mss ? (INT(c, name) + mss - 1) / mss : 0;
}

static void info_show(const struct resp_value *c)
{
    info_head(c);
    putchar('\t');
    for (unsigned i = 0; i < 3; i++) {
        static const char *const flags[][2] = {
            {"timestamps", " ts"}, {"sack", " sack"}, {"ecn", " ecn"}};
        if (INT(c, flags[i][0]))
            fputs(flags[i][1], stdout);
    }
    if (INT(c, "ecn_seen"))
        fputs(" ecnseen", stdout);
    if (*TEXT(c, "congestion"))
        printf(" %s", TEXT(c, "congestion"));
    if (INT(c, "scaling"))
        printf(" wscale:%lld,%lld", (long long)INT(c, "snd_scale"), (long long)INT(c, "rcv_scale"));
    put_ms("rto", INT(c, "rto_us"));
    put_number("backoff", INT(c, "backoff"));
    if (INT(c, "rtt_us"))
        printf(" rtt:%.12g/%.12g", (double)INT(c, "rtt_us") / 1000,
               (double)INT(c, "rttvar_us") / 1000);
    put_ms("ato", INT(c, "ato_us"));
    int64_t mss = INT(c, "mss");
    put_number("mss", mss);
    put_number("pmtu", INT(c, "pmtu"));
    put_number("rcvmss", INT(c, "receive_mss"));
    put_number("advmss", INT(c, "peer_mss"));
    if (mss) { // ss counts segments
        put_number("cwnd", INT(c, "cwnd") / mss);
        int64_t ssthresh = INT(c, "ssthresh") / mss;
        put_number("ssthresh", INT(c, "ssthresh") < INT32_MAX ? ssthresh : 0);
    }
    info_segments(c);
    put_number("unacked", INT(c, "unacked_segments"));
    if (INT(c, "resent") || INT(c, "retransmitted"))
        printf(" retrans:%lld/%lld", (long long)segments(c, "resent"),
               (long long)INT(c, "retransmitted"));
    put_number("lost", segments(c, "lost"));
    put_number("sacked", segments(c, "sacked"));
    put_number("dsack_dups", INT(c, "dsack_duplicates"));
    put_number("reordering", INT(c, "reordering"));
    put_number("reord_seen", INT(c, "reordering_seen"));
    put_ms("rcv_rtt", INT(c, "receive_rtt_us"));
    put_number("rcv_space", INT(c, "rcv_space"));
    put_number("notsent", INT(c, "unsent"));
    put_ms("minrtt", INT(c, "min_rtt_us"));
    put_number("rcv_ooopack", INT(c, "out_of_order"));
    put_number("snd_wnd", INT(c, "snd_wnd"));
    put_number("rcv_wnd", INT(c, "rcv_wnd"));
    putchar('\n');
}

static void connection_show(const struct options *o, const struct resp_value *c)
{
    if (o->json)
        show_json(c, true);
    else if (o->info)
        info_show(c);
    else
        row_show(c);
}

// --- the best ones -------------------------------------------------------------------------------

// A heap whose first row is the worst of those kept.
struct best {
    struct resp_value *rows;
    size_t n, max;
    const char *field;
    bool reverse;
};

// Whether `a` comes before `b`: larger numbers first, texts in their order; --reverse turns it.
static bool before(const struct best *b, const struct resp_value *x, const struct resp_value *y)
{
    const struct resp_value *p = resp_member(x, b->field), *q = resp_member(y, b->field);
    if (!p || !q)
        return p != NULL;
    int order;
    if (p->type == '$' || p->type == '+')
        order = strcmp(q->text ? q->text : "", p->text ? p->text : "");
    else if (p->type == ',')
        order = (p->number > q->number) - (p->number < q->number);
    else
        order = (p->integer > q->integer) - (p->integer < q->integer);
    return b->reverse ? order < 0 : order > 0;
}

static void swap(struct resp_value *a, struct resp_value *b)
{
    struct resp_value t = *a;
    *a = *b;
    *b = t;
}

static void sift_down(struct best *b, size_t at)
{
    for (;;) {
        size_t worst = at;
        for (size_t child = 2 * at + 1; child < b->n && child <= 2 * at + 2; child++)
            if (before(b, &b->rows[worst], &b->rows[child]))
                worst = child;
        if (worst == at)
            return;
        swap(&b->rows[at], &b->rows[worst]);
        at = worst;
    }
}

// Takes the row if it is among the best; what is not wanted stays with the caller, in *row.
static void best_take(struct best *b, struct resp_value *row)
{
    if (b->n == b->max) {
        if (before(b, row, &b->rows[0])) {
            swap(row, &b->rows[0]);
            sift_down(b, 0);
        }
        return;
    }
    size_t at = b->n++;
    b->rows[at] = *row;
    *row = (struct resp_value){.type = '_', .null = true};
    for (; at && before(b, &b->rows[(at - 1) / 2], &b->rows[at]); at = (at - 1) / 2)
        swap(&b->rows[at], &b->rows[(at - 1) / 2]);
}

// The rows in order, the best one first.
static void best_sort(struct best *b)
{
    size_t n = b->n;
    while (b->n > 1) {
        swap(&b->rows[0], &b->rows[--b->n]);
        sift_down(b, 0);
    }
    b->n = n;
}

// --- asking --------------------------------------------------------------------------------------

// The words of a question behind its cursor and count.
struct question {
    const char *argv[16];
    unsigned argc;
    char cursor[24], count[24], address[80], peer_port[16], local_port[24], core[24];
};

// --peer ADDRESS[/PREFIX][:PORT], [ADDRESS6]:PORT or :PORT.
static bool peer_read(struct question *q, const char *text)
{
    size_t len = strlen(text);
    const char *port = NULL, *end = text + len;
    if (*text == '[') {
        const char *close = strchr(text, ']');
        if (!close || (close[1] && close[1] != ':' && close[1] != '/'))
            return false;
        if (close[1] == ':')
            port = close + 2;
        text++;
        end = close;
    } else if (strchr(text, ':') && strchr(text, ':') == strrchr(text, ':')) {
        end = strchr(text, ':');
        port = end + 1;
    }
    if ((size_t)(end - text) >= sizeof(q->address) || (port && strlen(port) > 5))
        return false;
    snprintf(q->address, sizeof(q->address), "%.*s", (int)(end - text), text);
    if (*q->address) {
        q->argv[q->argc++] = "PEER";
        q->argv[q->argc++] = q->address;
    }
    if (port) {
        snprintf(q->peer_port, sizeof(q->peer_port), "%s", port);
        q->argv[q->argc++] = "PEERPORT";
        q->argv[q->argc++] = q->peer_port;
    }
    return *q->address || port;
}

// States as people write them: any case, and ss's short names.
static const char *states_read(const char *text, char *states, size_t size)
{
    static const char *const known[][2] = {
        {"ESTAB", "ESTABLISHED"}, {"SYN-RECV", "SYN-RECEIVED"},
        {"SYN-SENT", "SYN-SENT"}, {"FIN-WAIT-1", NULL},
        {"FIN-WAIT-2", NULL},     {"CLOSE-WAIT", NULL},
        {"LAST-ACK", NULL},       {"CLOSING", NULL},
        {"TIME-WAIT", NULL},      {"ESTABLISHED", NULL},
        {"SYN-RECEIVED", NULL},
    };
    size_t at = 0;
    states[0] = '\0';
    while (*text) {
        size_t len = strcspn(text, ",");
        const char *name = NULL;
        for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++)
            if (strlen(known[i][0]) == len && strncasecmp(known[i][0], text, len) == 0)
                name = known[i][1] ? known[i][1] : known[i][0];
        if (!name || at + strlen(name) + 2 > size)
            return NULL;
        at += (size_t)snprintf(states + at, size - at, "%s%s", at ? "," : "", name);
        text += len + (text[len] == ',');
    }
    return states;
}

static int question_make(struct question *q, const struct options *o)
{
    static char states[118];
    *q = (struct question){.argv = {"CONNECTIONS", q->cursor, "COUNT", q->count}, .argc = 4};
    if (o->state) {
        if (!states_read(o->state, states, sizeof(states)))
            return complain_of("--state takes established, syn-received, close-wait, time-wait "
                               "and so on, with commas between them, not '%s'",
                               o->state),
                   USAGE;
        q->argv[q->argc++] = "STATE";
        q->argv[q->argc++] = states;
    }
    if (o->peer && !peer_read(q, o->peer))
        return complain_of("--peer takes ADDRESS[/PREFIX][:PORT], not '%s'", o->peer), USAGE;
    if (o->local_port) {
        snprintf(q->local_port, sizeof(q->local_port), "%llu", (unsigned long long)o->local_port);
        q->argv[q->argc++] = "LOCALPORT";
        q->argv[q->argc++] = q->local_port;
    }
    if (o->core >= 0) {
        snprintf(q->core, sizeof(q->core), "%lld", (long long)o->core);
        q->argv[q->argc++] = "CORE";
        q->argv[q->argc++] = q->core;
    }
    return DONE;
}

static struct resp_value *page_ask(struct ctl_client *c, struct question *q, uint64_t cursor,
                                   uint64_t count)
{
    snprintf(q->cursor, sizeof(q->cursor), "%llu", (unsigned long long)cursor);
    snprintf(q->count, sizeof(q->count), "%llu", (unsigned long long)(count < PAGE ? count : PAGE));
    struct resp_value *v = ask(c, q->argc, q->argv, ANSWER_S);
    if (v && !resp_member(v, "connections")) {
        complain("the control plane is of another version: its answer cannot be shown");
        resp_value_free(v);
        return NULL;
    }
    return v;
}

static int run_sorted(struct ctl_client *c, const struct options *o, struct question *q)
{
    uint64_t max = o->limit_given ? o->limit : SORTED_DEFAULT, cursor = o->cursor;
    if (!max || max > SORTED_MAX)
        return complain_of("--sort keeps at most %u connections: give it --limit", SORTED_MAX),
               USAGE;
    struct best b = {.max = (size_t)max, .field = o->sort, .reverse = o->reverse};
    b.rows = calloc((size_t)max, sizeof(*b.rows));
    int status = b.rows ? DONE : complain("no memory for so many connections");
    bool known = false, any = false;
    while (status == DONE) {
        struct resp_value *v = page_ask(c, q, cursor, PAGE);
        if (!v) {
            status = FAILED;
            break;
        }
        // The reply is ours: rows move out of it.
        struct resp_value *list = (struct resp_value *)resp_member(v, "connections");
        for (size_t i = 0; i < list->n; i++) {
            any = true;
            known |= resp_member(&list->items[i], o->sort) != NULL;
            best_take(&b, &list->items[i]);
        }
        cursor = (uint64_t)resp_member_integer(v, "next");
        resp_value_free(v);
        if (any && !known)
            status =
                complain_of("--sort: connections have no '%s'; see the names in --json", o->sort);
        if (!cursor)
            break;
    }
    if (status == DONE)
        best_sort(&b);
    for (size_t i = 0; i < b.n; i++) {
        if (status == DONE)
            connection_show(o, &b.rows[i]);
        resp_value_clear(&b.rows[i]);
    }
    free(b.rows);
    return status;
}

static int run_pages(struct ctl_client *c, const struct options *o, struct question *q)
{
    uint64_t cursor = o->cursor, shown = 0;
    do {
        uint64_t left = o->limit ? o->limit - shown : UINT64_MAX;
        struct resp_value *v = page_ask(c, q, cursor, left);
        if (!v)
            return FAILED;
        const struct resp_value *list = resp_member(v, "connections");
        for (size_t i = 0; i < list->n && i < left; i++)
            connection_show(o, &list->items[i]);
        shown += list->n;
        cursor = (uint64_t)resp_member_integer(v, "next");
        resp_value_free(v);
        if (ferror(stdout))
            return FAILED;
    } while (cursor && (!o->limit || shown < o->limit));
    if (cursor)
        fprintf(stderr,
                "polluxctl: there are more: '--cursor %llu' goes on, '--limit 0' shows all\n",
                (unsigned long long)cursor);
    return DONE;
}

int run_connections(struct ctl_client *c, const struct options *o)
{
    struct question q;
    int status = question_make(&q, o);
    if (status != DONE)
        return status;
    rows_begun = false;
    status = o->sort ? run_sorted(c, o, &q) : run_pages(c, o, &q);
    if (status == DONE && !o->json && !o->info)
        rows_print();
    return status;
}
