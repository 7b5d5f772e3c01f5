// A folder of its own for a test that needs files.
#pragma once

#include <assert.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct folder {
    char path[64];
    char name[192]; // of the last file asked for
};

static inline struct folder *folder_new(void)
{
    struct folder *f = calloc(1, sizeof(*f));
    strcpy(f->path, "/tmp/pollux-config-XXXXXX");
    char *made = mkdtemp(f->path);
    assert(made);
    return f;
}

static inline const char *folder_file(struct folder *f, const char *name)
{
    snprintf(f->name, sizeof(f->name), "%s/%s", f->path, name);
    return f->name;
}

static inline const char *folder_write(struct folder *f, const char *name, const char *text)
{
    FILE *file = fopen(folder_file(f, name), "w");
    assert(file);
    fputs(text, file);
    fclose(file);
    return f->name;
}

// To be freed.
static inline char *folder_read(struct folder *f, const char *name)
{
    FILE *file = fopen(folder_file(f, name), "r");
    assert(file);
    char *text = calloc(1, 1 << 20);
    size_t n = fread(text, 1, (1 << 20) - 1, file);
    assert(n < (1 << 20) - 1);
    fclose(file);
    return text;
}

static inline int folder_remove_one(const char *path, const struct stat *st, int type,
                                    struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

static inline void folder_free(struct folder *f)
{
    nftw(f->path, folder_remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(f);
}
