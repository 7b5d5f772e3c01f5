// The log for people: one ring per thread, written by its thread without locks or system calls, and
// read by whoever calls log_flush. A line's time is taken when it is written; the text of the date
// is made when it is flushed, so a polling core pays for formatting its message only.
//
// The rings are static memory that costs nothing until it is touched, and are used again after
// their thread has ended and the last of its lines was written out.
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

// Threads that write the log at the same time: 64 polling cores and some helpers.
#define LOG_THREADS_MAX 80
// About 600 lines of 100 bytes wait for a flush that comes many times a second. A power of two.
#define LOG_RING_BYTES (64u * 1024)
// Lines are gathered to this many bytes for one write().
#define LOG_BATCH_BYTES (64u * 1024)

struct record {
    uint64_t time_ns; // CLOCK_REALTIME
    uint16_t len;
    uint8_t level;
};

enum ring_state { RING_FREE, RING_USED, RING_ENDED };

struct ring {
    _Alignas(64) _Atomic uint64_t head; // the thread's: bytes ever written
    _Atomic uint64_t dropped;           // lines
    _Alignas(64) _Atomic uint64_t tail; // log_flush's: bytes ever read
    uint64_t dropped_told;
    _Atomic int state; // enum ring_state
    _Alignas(64) uint8_t bytes[LOG_RING_BYTES];
};

static struct ring rings[LOG_THREADS_MAX];
static _Atomic unsigned rings_used; // rings[0 … rings_used) have been used at least once
static _Atomic uint64_t ringless;   // lines of threads that found no ring
static uint64_t ringless_told;
static _Thread_local struct ring *my_ring;
static pthread_key_t ring_key;
static pthread_once_t ring_key_once = PTHREAD_ONCE_INIT;

static _Atomic int level_min = LOG_LEVEL_NOTICE;
static _Atomic bool is_open;

// Below: of the flushing thread, under `flush_lock`. Writers never take it.
static pthread_mutex_t flush_lock = PTHREAD_MUTEX_INITIALIZER;
static char file_path[4096];
static char ident[64];
static bool to_syslog;
static char role = 'M';
static pid_t pid;
static long utc_offset_s; // of local time, when the log was opened
static char batch[LOG_BATCH_BYTES];
static size_t batch_len;

static void ring_end(void *ring)
{
    atomic_store_explicit(&((struct ring *)ring)->state, RING_ENDED, memory_order_release);
    my_ring = NULL;
}

static void ring_key_make(void)
{
    pthread_key_create(&ring_key, ring_end);
}

static struct ring *ring_claim(void)
{
    pthread_once(&ring_key_once, ring_key_make);
    for (unsigned i = 0; i < LOG_THREADS_MAX; i++) {
        int unused = RING_FREE;
        if (!atomic_compare_exchange_strong(&rings[i].state, &unused, RING_USED))
            continue;
        unsigned used = atomic_load(&rings_used);
        while (used < i + 1 && !atomic_compare_exchange_weak(&rings_used, &used, i + 1))
            ;
        my_ring = &rings[i];
        pthread_setspecific(ring_key, my_ring);
        return my_ring;
    }
    return NULL;
}

// Copies into or out of the ring's bytes, around its end.
static void ring_put(struct ring *r, uint64_t at, const void *from, size_t len)
{
    size_t offset = at % LOG_RING_BYTES, first = LOG_RING_BYTES - offset;
    if (first > len)
        first = len;
    memcpy(r->bytes + offset, from, first);
    memcpy(r->bytes, (const uint8_t *)from + first, len - first);
}

static void ring_take(const struct ring *r, uint64_t at, void *to, size_t len)
{
    size_t offset = at % LOG_RING_BYTES, first = LOG_RING_BYTES - offset;
    if (first > len)
        first = len;
    memcpy(to, r->bytes + offset, first);
    memcpy((uint8_t *)to + first, r->bytes, len - first);
}

static uint64_t wall_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// "PID:ROLE DD Mon YYYY HH:MM:SS.mmm LEVEL " as Redis writes it. Month names do not follow the
// locale.
static size_t prefix_write(char *to, const struct record *record, const struct tm *tm)
{
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    int n =
        snprintf(to, LOG_PREFIX_MAX, "%d:%c %02d %s %04d %02d:%02d:%02d.%03d %c ", (int)pid, role,
                 tm->tm_mday, months[tm->tm_mon % 12], tm->tm_year + 1900, tm->tm_hour, tm->tm_min,
                 tm->tm_sec, (int)(record->time_ns / 1000000 % 1000), ".-*#"[record->level & 3]);
    return n < 0 ? 0 : n < LOG_PREFIX_MAX ? (size_t)n : LOG_PREFIX_MAX - 1;
}

static size_t prefix_format(char *to, const struct record *record)
{
    time_t seconds = (time_t)(record->time_ns / 1000000000u);
    struct tm tm;
    localtime_r(&seconds, &tm);
    return prefix_write(to, record, &tm);
}

static void write_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; // a full disk or a closed pipe: there is nobody left to tell
        data += n;
        len -= (size_t)n;
    }
}

// The file is opened for each batch, so that a rotation by rename or removal needs no signal.
static void batch_write(void)
{
    if (!batch_len)
        return;
    if (file_path[0] == '\0') {
        write_all(STDOUT_FILENO, batch, batch_len);
    } else {
        int fd = open(file_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        if (fd >= 0) {
            write_all(fd, batch, batch_len);
            close(fd);
        }
    }
    batch_len = 0;
}

static void line_write(const struct record *record, const char *text)
{
    if (batch_len + LOG_PREFIX_MAX + record->len + 1 > sizeof(batch))
        batch_write();
    batch_len += prefix_format(batch + batch_len, record);
    memcpy(batch + batch_len, text, record->len);
    batch_len += record->len;
    batch[batch_len++] = '\n';
    if (to_syslog) {
        static const int priorities[] = {LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARNING};
        syslog(priorities[record->level & 3], "%.*s", (int)record->len, text);
    }
}

__attribute__((format(printf, 1, 2))) static void own_line(const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    struct record record = {.time_ns = wall_ns(), .level = LOG_LEVEL_WARNING};
    record.len = (uint16_t)(n < (int)sizeof(text) ? n : (int)sizeof(text) - 1);
    line_write(&record, text);
}

static void log_write_early(int level, const char *text, size_t len)
{
    char line[LOG_PREFIX_MAX + LOG_LINE_MAX + 1];
    struct record record = {.time_ns = wall_ns(), .level = (uint8_t)level};
    pid = getpid();
    size_t n = prefix_format(line, &record);
    memcpy(line + n, text, len);
    n += len;
    line[n++] = '\n';
    write_all(STDERR_FILENO, line, n);
}

void log_write(enum log_level level, const char *format, ...)
{
    if ((int)level < atomic_load_explicit(&level_min, memory_order_relaxed))
        return;
    char text[LOG_LINE_MAX];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (n < 0)
        return;
    size_t len = n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1;
    // A line stays a line, whatever a peer has sent that is quoted in it.
    for (size_t i = 0; i < len; i++)
        if ((uint8_t)text[i] < ' ' || text[i] == 0x7f)
            text[i] = text[i] == '\t' ? ' ' : '?';
    if (!atomic_load_explicit(&is_open, memory_order_acquire)) {
        log_write_early((int)level, text, len);
        return;
    }
    struct ring *r = my_ring ? my_ring : ring_claim();
    if (!r) {
        atomic_fetch_add_explicit(&ringless, 1, memory_order_relaxed);
        return;
    }
    struct record record = {.time_ns = wall_ns(), .len = (uint16_t)len, .level = (uint8_t)level};
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
    if (LOG_RING_BYTES - (head - tail) < sizeof(record) + len) {
        atomic_fetch_add_explicit(&r->dropped, 1, memory_order_relaxed);
        return;
    }
    ring_put(r, head, &record, sizeof(record));
    ring_put(r, head + sizeof(record), text, len);
    atomic_store_explicit(&r->head, head + sizeof(record) + len, memory_order_release);
}

// Writes the lines of all rings in the order of their times, up to what was there at the start.
static unsigned rings_flush(void)
{
    static uint64_t until[LOG_THREADS_MAX];
    static struct record next[LOG_THREADS_MAX];
    static bool loaded[LOG_THREADS_MAX];
    unsigned n = atomic_load_explicit(&rings_used, memory_order_acquire), lines = 0;
    for (unsigned i = 0; i < n; i++) {
        until[i] = atomic_load_explicit(&rings[i].head, memory_order_acquire);
        loaded[i] = false;
    }
    for (;;) {
        struct ring *oldest = NULL;
        unsigned at = 0;
        for (unsigned i = 0; i < n; i++) {
            uint64_t tail = atomic_load_explicit(&rings[i].tail, memory_order_relaxed);
            if (tail == until[i])
                continue;
            if (!loaded[i]) {
                ring_take(&rings[i], tail, &next[i], sizeof(next[i]));
                loaded[i] = true;
            }
            if (!oldest || next[i].time_ns < next[at].time_ns) {
                oldest = &rings[i];
                at = i;
            }
        }
        if (!oldest)
            break;
        char text[LOG_LINE_MAX];
        uint64_t tail = atomic_load_explicit(&oldest->tail, memory_order_relaxed);
        ring_take(oldest, tail + sizeof(struct record), text, next[at].len);
        line_write(&next[at], text);
        atomic_store_explicit(&oldest->tail, tail + sizeof(struct record) + next[at].len,
                              memory_order_release);
        loaded[at] = false;
        lines++;
    }
    return lines;
}

// Says what was lost, and takes back the rings of threads that have ended.
static unsigned rings_settle(void)
{
    unsigned n = atomic_load_explicit(&rings_used, memory_order_acquire), lines = 0;
    uint64_t lost = 0;
    for (unsigned i = 0; i < n; i++) {
        struct ring *r = &rings[i];
        uint64_t dropped = atomic_load_explicit(&r->dropped, memory_order_relaxed);
        lost += dropped - r->dropped_told;
        r->dropped_told = dropped;
        if (atomic_load_explicit(&r->state, memory_order_acquire) == RING_ENDED &&
            atomic_load_explicit(&r->head, memory_order_acquire) ==
                atomic_load_explicit(&r->tail, memory_order_relaxed))
            atomic_store_explicit(&r->state, RING_FREE, memory_order_release);
    }
    if (lost) {
        own_line("%llu log lines were lost: they came faster than they could be written",
                 (unsigned long long)lost);
        lines++;
    }
    uint64_t homeless = atomic_load_explicit(&ringless, memory_order_relaxed);
    if (homeless != ringless_told) {
        own_line("%llu log lines were lost: more than %d threads write the log",
                 (unsigned long long)(homeless - ringless_told), LOG_THREADS_MAX);
        ringless_told = homeless;
        lines++;
    }
    return lines;
}

unsigned log_flush(void)
{
    if (!atomic_load_explicit(&is_open, memory_order_acquire))
        return 0;
    pthread_mutex_lock(&flush_lock);
    unsigned lines = rings_flush() + rings_settle();
    batch_write();
    pthread_mutex_unlock(&flush_lock);
    return lines;
}

// --- within handlers of signals ------------------------------------------------------------------

int log_crash_fd(void)
{
    if (!atomic_load(&is_open))
        return STDERR_FILENO;
    int fd = file_path[0] ? open(file_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
    return fd >= 0 ? fd : STDOUT_FILENO;
}

// The C library's functions of local time take a lock. Days to dates as in Howard Hinnant's
// "chrono-compatible low-level date algorithms", of years that begin in March.
void log_crash_prefix(char *prefix)
{
    struct record record = {.time_ns = wall_ns(), .level = LOG_LEVEL_WARNING};
    int64_t s = (int64_t)(record.time_ns / 1000000000u) + utc_offset_s;
    int64_t days = s / 86400 + 719468, era = days / 146097, of_day = s % 86400;
    int64_t day = days - era * 146097;
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    day -= 365 * year + year / 4 - year / 100;
    int64_t month = (5 * day + 2) / 153; // from March on
    struct tm tm = {
        .tm_mday = (int)(day - (153 * month + 2) / 5 + 1),
        .tm_mon = (int)((month + 2) % 12),
        .tm_year = (int)(year + era * 400 + (month >= 10) - 1900),
        .tm_hour = (int)(of_day / 3600),
        .tm_min = (int)(of_day / 60 % 60),
        .tm_sec = (int)(of_day % 60),
    };
    prefix_write(prefix, &record, &tm);
}

void log_crash_flush(void)
{
    if (!atomic_load(&is_open) || pthread_mutex_trylock(&flush_lock))
        return;
    rings_flush();
    batch_write();
    pthread_mutex_unlock(&flush_lock);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&level_min, (int)level, memory_order_relaxed);
}

int log_open(const struct log_options *options)
{
    const char *path = options->file ? options->file : "";
    if (strlen(path) >= sizeof(file_path))
        return -ENAMETOOLONG;
    if (path[0]) {
        int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0)
            return -errno;
        close(fd);
    }
    log_flush(); // what waits belongs to the present destination
    tzset();
    time_t now = time(NULL);
    struct tm local;
    utc_offset_s = localtime_r(&now, &local) ? local.tm_gmtoff : 0;
    pthread_mutex_lock(&flush_lock);
    snprintf(file_path, sizeof(file_path), "%s", path);
    if (to_syslog)
        closelog();
    to_syslog = options->syslog;
    if (to_syslog) {
        snprintf(ident, sizeof(ident), "%s", options->syslog_ident ? options->syslog_ident : "");
        openlog(ident, LOG_PID | LOG_NDELAY | LOG_NOWAIT, options->syslog_facility);
    }
    role = options->role ? options->role : 'M';
    pid = getpid();
    log_set_level(options->level);
    pthread_mutex_unlock(&flush_lock);
    atomic_store_explicit(&is_open, true, memory_order_release);
    return 0;
}

void log_close(void)
{
    log_flush();
    pthread_mutex_lock(&flush_lock);
    atomic_store_explicit(&is_open, false, memory_order_release);
    if (to_syslog)
        closelog();
    to_syslog = false;
    pthread_mutex_unlock(&flush_lock);
}
