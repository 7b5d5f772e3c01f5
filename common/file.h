// Whole files, read and replaced. They wait for a disk: not on a polling core.
#pragma once

#include <stddef.h>

// The bytes of a file with a NUL byte behind them, to be freed. NULL with errno; EFBIG: more than
// `max`.
char *file_read(const char *path, size_t max, size_t *size);
// Puts a file of these bytes in the place of the one there is (temporary file, fsync, rename, fsync
// of the folder), with its rights. 0, or -1 with one line in `error`.
int file_replace(const char *path, const char *text, size_t size, char *error, size_t error_size);
