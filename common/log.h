// The log for people. Lines have Redis's format: "PID:ROLE DD Mon YYYY HH:MM:SS.mmm LEVEL message".
// A polling core never writes a file: `log_write` formats into the calling thread's ring and a
// service thread (or the event loop of a process without polling cores) writes it out with
// `log_flush`. A full ring drops the line and counts it; the next flush says how many were lost.
// Before `log_open` lines go straight to standard error.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_VERBOSE, LOG_LEVEL_NOTICE, LOG_LEVEL_WARNING };

struct log_options {
    const char *file; // path; "" for standard output
    enum log_level level;
    bool syslog;
    const char *syslog_ident;
    int syslog_facility; // LOG_LOCAL0 …
    char role;           // 'M' data plane, 'C' control plane, 'S' supervisor
};

// Opens (or reopens with other options) the log of this process. Returns 0 or -errno of the file.
// From now on lines wait in rings until `log_flush`. Call on the thread that will flush.
int log_open(const struct log_options *options);
void log_set_level(enum log_level level);
// Any thread; never blocks and makes no system call once the log is open. Lines above
// LOG_LINE_MAX bytes are cut.
#define LOG_LINE_MAX 1024
#define LOG_PREFIX_MAX 64
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Writes out what all threads have queued. Returns the number of lines written.
unsigned log_flush(void);
void log_close(void);

// For handlers of signals, which may come in the middle of anything. Where the log goes, as a
// descriptor; to be closed when it is above standard error's. What begins a line of level warning
// now, in LOG_PREFIX_MAX bytes. And log_flush, unless somebody is at it.
int log_crash_fd(void);
void log_crash_prefix(char *prefix);
void log_crash_flush(void);

#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_verbose(...) log_write(LOG_LEVEL_VERBOSE, __VA_ARGS__)
#define log_notice(...) log_write(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
