// What the control plane and the supervisor read from the configuration.
#pragma once

#include <stddef.h>

#include "config/config.h"

struct settings {
    unsigned port;
    char run_directory[256];
};

// Finds the run directory (made when missing). 0, or -1 with one line in `error`.
int settings_read(const struct config *config, struct settings *s, char *error, size_t error_size);
// Opens the log as `logfile`, `loglevel` and `syslog-…` say. 0, or -1 with one line in `error`.
int settings_open_log(const struct config *config, char role, char *error, size_t error_size);
