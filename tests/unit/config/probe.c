// What the differential test drives: reads commands from standard input, one a line of words quoted
// as in redis.conf, and answers each with one line.
//
//   set NAME VALUE     "OK VALUE-AS-SHOWN" or "ERR message"
//   line TEXT          the same for a line of a file, on fresh defaults ("OK" without a value)
//   get NAME           "OK VALUE" or "NONE"
//   names              all names that CONFIG GET * gives, with blanks between
//   glob PATTERN TEXT…  the texts that match, with blanks between
//   rewrite PATH       loads the file, rewrites it: "OK" or "ERR message"
#include "common/glob.h"
#include "common/words.h"
#include "config/config.h"

#include <stdlib.h>
#include <string.h>

static void print_name(void *context, const char *name, const char *value)
{
    (void)context;
    (void)value;
    printf("%s ", name);
}

static void answer(struct config *c, const struct words *w)
{
    char error[1024] = "";
    if (!strcmp(w->at[0], "names")) {
        config_match(c, "*", 1, print_name, NULL);
        puts("");
    } else if (w->n == 3 && !strcmp(w->at[0], "set")) {
        if (config_set(c, w->at[1], w->at[2], strlen(w->at[2]), error, sizeof(error)))
            printf("ERR %s\n", error);
        else
            printf("OK %s\n", config_get(c, w->at[1]));
    } else if (w->n == 2 && !strcmp(w->at[0], "line")) {
        struct config *fresh = config_new();
        if (config_load_text(fresh, w->at[1], "t", error, sizeof(error)))
            printf("ERR %s\n", error);
        else
            puts("OK");
        config_free(fresh);
    } else if (w->n == 2 && !strcmp(w->at[0], "get")) {
        const char *value = config_get(c, w->at[1]);
        printf(value ? "OK %s\n" : "NONE\n", value);
    } else if (w->n >= 2 && !strcmp(w->at[0], "glob")) {
        for (unsigned i = 2; i < w->n; i++) {
            if (glob_match(w->at[1], strlen(w->at[1]), w->at[i], strlen(w->at[i]), false))
                printf("%s ", w->at[i]);
        }
        puts("");
    } else if (w->n == 2 && !strcmp(w->at[0], "rewrite")) {
        struct config *fresh = config_new();
        if (config_load_file(fresh, w->at[1], error, sizeof(error)) ||
            config_rewrite(fresh, error, sizeof(error)))
            printf("ERR %s\n", error);
        else
            puts("OK");
        config_free(fresh);
    } else {
        puts("ERR unknown command");
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char *line = NULL, error[1024];
    size_t room = 0;
    struct config *c = config_new();
    if (config_load_arguments(c, argc - 1, argv + 1, error, sizeof(error))) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    for (ssize_t len; (len = getline(&line, &room, stdin)) > 0;) {
        struct words w;
        if (words_split_line(line, (size_t)len, &w) != WORDS_OK || !w.n) {
            puts("ERR not words");
            fflush(stdout);
            continue;
        }
        answer(c, &w);
        words_free(&w);
    }
    free(line);
    config_free(c);
    return 0;
}
