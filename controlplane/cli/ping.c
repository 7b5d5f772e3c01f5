// polluxctl ping: one echo after the other, and what became of them, as ping(8) shows it.
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "controlplane/cli/run.h"
#include "controlplane/cli/show.h"

#define COUNT_DEFAULT 4
#define TIMEOUT_MS 2000 // for one reply

#define INT(v, name) resp_member_integer(v, name)
#define TEXT(v, name) resp_member_string(v, name)

struct statistics {
    uint64_t sent, received, errors;
    double min_ms, max_ms, sum_ms, squares;
};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void sleep_ms(double ms)
{
    if (ms <= 0)
        return;
    struct timespec t = {.tv_sec = (time_t)(ms / 1000)};
    t.tv_nsec = (long)((ms - (double)t.tv_sec * 1000) * 1e6);
    nanosleep(&t, NULL); // a signal ends it, as it should
}

// What an ICMP error says.
static const char *error_text(bool v6, int64_t type, int64_t code, int64_t mtu, char *text,
                              size_t size)
{
    static const char *const v4[] = {"network unreachable", "host unreachable",
                                     "protocol unreachable", "port unreachable"};
    static const char *const six[] = {"no route", "administratively prohibited",
                                      "beyond the scope of the source", "address unreachable",
                                      "port unreachable"};
    if (v6 ? type == 2 : type == 3 && code == 4)
        snprintf(text, size, "packet too big, the path takes %lld", (long long)mtu);
    else if (!v6 && type == 3 && (code == 9 || code == 10 || code == 13))
        snprintf(text, size, "administratively prohibited");
    else if (!v6 && type == 3 && code >= 0 && code < 4)
        snprintf(text, size, "%s", v4[code]);
    else if (v6 && type == 1 && code >= 0 && code < 5)
        snprintf(text, size, "%s", six[code]);
    else if (type == (v6 ? 3 : 11))
        snprintf(text, size, "time to live exceeded");
    else
        snprintf(text, size, "ICMP type %lld code %lld", (long long)type, (long long)code);
    return text;
}

static void outcome_show(const struct options *o, const char *address, const struct resp_value *v)
{
    char text[96];
    const char *outcome = TEXT(v, "outcome");
    long long seq = (long long)INT(v, "seq");
    if (o->json) {
        show_json(v, true);
    } else if (strcmp(outcome, "reply") == 0) {
        printf("%lld bytes from %s: icmp_seq=%lld ttl=%lld time=%.3f ms%s\n",
               (long long)INT(v, "size") + 8, TEXT(v, "from"), seq, (long long)INT(v, "ttl"),
               (double)INT(v, "rtt_us") / 1000, INT(v, "damaged") ? " (DAMAGED)" : "");
    } else if (strcmp(outcome, "error") == 0) {
        printf("from %s: icmp_seq=%lld %s\n", TEXT(v, "from"), seq,
               error_text(strchr(TEXT(v, "from"), ':'), INT(v, "type"), INT(v, "code"),
                          INT(v, "mtu"), text, sizeof(text)));
    } else if (strcmp(outcome, "unresolved") == 0) {
        bool gateway = strcmp(TEXT(v, "from"), address) != 0;
        printf("icmp_seq=%lld no answer: %s%s has no hardware address on the link (see polluxctl "
               "neighbours)\n",
               seq, gateway ? "the gateway " : "", TEXT(v, "from"));
    } else {
        printf("icmp_seq=%lld no answer within %d ms\n", seq, TIMEOUT_MS);
    }
    fflush(stdout);
}

static void count(struct statistics *s, const struct resp_value *v)
{
    s->sent++;
    s->errors += strcmp(TEXT(v, "outcome"), "error") == 0;
    if (strcmp(TEXT(v, "outcome"), "reply") != 0)
        return;
    double ms = (double)INT(v, "rtt_us") / 1000;
    s->min_ms = s->received && s->min_ms < ms ? s->min_ms : ms;
    s->max_ms = s->received && s->max_ms > ms ? s->max_ms : ms;
    s->sum_ms += ms;
    s->squares += ms * ms;
    s->received++;
}

static void statistics_show(const struct options *o, const struct statistics *s, double took_ms)
{
    double mean = s->received ? s->sum_ms / (double)s->received : 0;
    double variance = s->received ? s->squares / (double)s->received - mean * mean : 0;
    double deviation = variance > 0 ? sqrt(variance) : 0;
    double loss = s->sent ? 100.0 * (double)(s->sent - s->received) / (double)s->sent : 0;
    if (o->json) {
        printf("{\"sent\":%llu,\"received\":%llu,\"errors\":%llu,\"loss_percent\":%.6g",
               (unsigned long long)s->sent, (unsigned long long)s->received,
               (unsigned long long)s->errors, loss);
        if (s->received)
            printf(",\"rtt_ms\":{\"min\":%.3f,\"avg\":%.3f,\"max\":%.3f,\"mdev\":%.3f}", s->min_ms,
                   mean, s->max_ms, deviation);
        puts("}");
        return;
    }
    printf("\n%llu packets transmitted, %llu received, ", (unsigned long long)s->sent,
           (unsigned long long)s->received);
    if (s->errors)
        printf("%llu errors, ", (unsigned long long)s->errors);
    printf("%.6g%% packet loss, time %.0fms\n", loss, took_ms);
    if (s->received)
        printf("rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms\n", s->min_ms, mean, s->max_ms,
               deviation);
}

int run_ping(struct ctl_client *c, const struct options *o)
{
    if (o->argc != 2) {
        complain("ping takes one ADDRESS");
        return USAGE;
    }
    uint64_t wanted = o->count_given ? o->count : COUNT_DEFAULT;
    struct statistics s = {0};
    char size[24], seq[24], core[24], timeout[24];
    snprintf(size, sizeof(size), "%llu", (unsigned long long)o->size);
    snprintf(core, sizeof(core), "%lld", o->core < 0 ? 0 : (long long)o->core);
    snprintf(timeout, sizeof(timeout), "%d", TIMEOUT_MS);
    interrupt_catch();
    double begin = now_ms();
    for (uint64_t i = 0; !interrupted && (!wanted || i < wanted); i++) {
        double sent_ms = now_ms();
        snprintf(seq, sizeof(seq), "%llu", (unsigned long long)(i + 1) % 65536);
        const char *argv[] = {"ICMPECHO", o->argv[1], size, seq, timeout, core};
        struct resp_value *v = ask(c, 6, argv, TIMEOUT_MS / 1000 + ANSWER_S);
        if (!v)
            return FAILED; // no route and its like: no later echo would fare better
        if (i == 0 && !o->json)
            printf("PING %s: %llu data bytes, from core %s of the server\n", o->argv[1],
                   (unsigned long long)o->size, core);
        count(&s, v);
        outcome_show(o, o->argv[1], v);
        resp_value_free(v);
        if (!interrupted && (!wanted || i + 1 < wanted))
            sleep_ms((double)o->interval_ms - (now_ms() - sent_ms));
    }
    statistics_show(o, &s, now_ms() - begin);
    return s.received ? DONE : FAILED;
}
