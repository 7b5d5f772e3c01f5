// Whole files, read and replaced.
#include "common/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *file_read(const char *path, size_t max, size_t *size)
{
    enum { ROOM_FIRST = 4096 };
    FILE *f = fopen(path, "re");
    if (!f)
        return NULL;
    size_t room = ROOM_FIRST;
    char *text = NULL;
    int cause = 0;
    *size = 0;
    for (;;) {
        char *larger = realloc(text, room);
        if (!larger) {
            cause = ENOMEM;
            break;
        }
        text = larger;
        *size += fread(text + *size, 1, room - *size - 1, f);
        if (*size < room - 1)
            break;
        room *= 2;
        if (*size > max) {
            cause = EFBIG;
            break;
        }
    }
    if (!cause && ferror(f))
        cause = errno ? errno : EIO;
    fclose(f);
    if (cause) {
        free(text);
        errno = cause;
        return NULL;
    }
    text[*size] = 0;
    return text;
}

static bool write_all(int fd, const char *text, size_t size)
{
    while (size) {
        ssize_t n = write(fd, text, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        text += n;
        size -= (size_t)n;
    }
    return true;
}

// Makes the new name last too. A file system that cannot flush folders has done what it can.
static void sync_folder(const char *path)
{
    char *copy = strdup(path);
    assert(copy);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    free(copy);
}

int file_replace(const char *path, const char *text, size_t size, char *error, size_t error_size)
{
    enum { MODE_OF_NEW_FILE = 0644 };
    struct stat st;
    bool exists = stat(path, &st) == 0;
    char *temporary;
    int named = asprintf(&temporary, "%s.XXXXXX", path);
    assert(named >= 0);
    (void)named;
    const char *step = "created";
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        goto failed;
    step = "given its rights";
    if (fchmod(fd, exists ? st.st_mode & 07777 : MODE_OF_NEW_FILE))
        goto failed_with_file;
    // Only root can give a file away; anyone else's keeps its writer.
    if (exists && fchown(fd, st.st_uid, st.st_gid))
        errno = 0;
    step = "written";
    if (!write_all(fd, text, size) || fsync(fd))
        goto failed_with_file;
    step = "renamed";
    if (rename(temporary, path))
        goto failed_with_file;
    close(fd);
    free(temporary);
    sync_folder(path);
    return 0;

failed_with_file:;
    int cause = errno;
    unlink(temporary);
    close(fd);
    errno = cause;
failed:
    snprintf(error, error_size, "%s cannot be %s: %s", temporary, step, strerror(errno));
    free(temporary);
    return -1;
}
