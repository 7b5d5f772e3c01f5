#include "controlplane/settings.h"

#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "common/log.h"
#include "common/plane.h"

int settings_read(const struct config *config, struct settings *s, char *error, size_t error_size)
{
    s->port = (unsigned)config_integer(config, "port"); // as the data plane names its files
    if (!s->port)
        s->port = (unsigned)config_integer(config, "tls-port");
    const char *configured = config_string(config, "runtime-dir");
    int status = plane_run_directory(configured, s->run_directory, sizeof(s->run_directory));
    if (!status)
        return 0;
    snprintf(error, error_size, "cannot use the run directory %s: %s; set runtime-dir to another",
             *configured ? configured : s->run_directory, strerror(-status));
    return -1;
}

static enum log_level level_of(const char *word)
{
    static const char *const words[] = {"debug", "verbose", "notice", "warning"};
    for (int i = 0; i < 4; i++)
        if (strcmp(word, words[i]) == 0)
            return (enum log_level)i;
    return LOG_LEVEL_NOTICE;
}

static int facility_of(const char *word)
{
    if (strncmp(word, "local", 5) == 0 && word[5] >= '0' && word[5] <= '7')
        return LOG_LOCAL0 + (word[5] - '0') * (LOG_LOCAL1 - LOG_LOCAL0);
    return LOG_USER;
}

int settings_open_log(const struct config *config, char role, char *error, size_t error_size)
{
    struct log_options options = {
        .file = config_string(config, "logfile"),
        .level = level_of(config_get(config, "loglevel")),
        .syslog = config_bool(config, "syslog-enabled"),
        .syslog_ident = config_string(config, "syslog-ident"),
        .syslog_facility = facility_of(config_get(config, "syslog-facility")),
        .role = role,
    };
    int status = log_open(&options);
    if (!status)
        return 0;
    snprintf(error, error_size, "cannot open the log file '%s': %s", options.file,
             strerror(-status));
    return -1;
}
