// config/pollux.conf: it names every option, and its values are the defaults.
#include "config/config.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *path;
static char error[1024];

static void same_as_defaults(const struct config *c)
{
    struct config *defaults = config_new();
    unsigned n;
    const struct config_option *options = config_options(&n);
    for (unsigned i = 0; i < n; i++) {
        const char *value = config_get(c, options[i].name);
        if (value && strcmp(value, config_get(defaults, options[i].name)))
            fail_msg("%s: '%s' is not the default '%s'", options[i].name, value,
                     config_get(defaults, options[i].name));
    }
    config_free(defaults);
}

static void gives_the_defaults(void **state)
{
    (void)state;
    struct config *c = config_new();
    if (config_load_file(c, path, error, sizeof(error)) || config_validate(c, error, sizeof(error)))
        fail_msg("%s", error);
    same_as_defaults(c);
    config_free(c);
}

// Lines with an option right behind the `#` are what a user switches on.
static void every_option_is_there_with_its_default(void **state)
{
    (void)state;
    unsigned n;
    const struct config_option *options = config_options(&n);
    bool *seen = calloc(n, sizeof(*seen));
    struct config *c = config_new();
    char *line = NULL;
    size_t room = 0;
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(seen);
    for (ssize_t len; (len = getline(&line, &room, f)) > 0;) {
        if (len > 101) // with its newline
            fail_msg("longer than 100 columns: %s", line);
        if (line[0] != '#' || !isalpha((unsigned char)line[1])) {
            assert_true(line[0] == '#' || line[0] == '\n');
            continue;
        }
        char *name = strndup(line + 1, strcspn(line + 1, " \n"));
        const struct config_option *o = config_find_option(name);
        if (!o)
            fail_msg("no option: %s", line);
        seen[o - options] = true;
        // What may stand several times adds to the defaults; its line only has to be a good one.
        struct config *fresh = config_new();
        struct config *target = o->flags & CONFIG_FILE_ONLY ? fresh : c;
        if (config_load_text(target, line + 1, "pollux.conf", error, sizeof(error)))
            fail_msg("%s: %s", line, error);
        config_free(fresh);
        free(name);
    }
    fclose(f);
    free(line);
    same_as_defaults(c);
    for (unsigned i = 0; i < n; i++) {
        bool forerunner =
            options[i].flags & CONFIG_FILE_ONLY && !strncmp(options[i].name, "list-", 5);
        if (!seen[i] && !(options[i].flags & CONFIG_HIDDEN) && !forerunner)
            fail_msg("'%s' is missing", options[i].name);
    }
    config_free(c);
    free(seen);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_defaults),
        cmocka_unit_test(every_option_is_there_with_its_default),
    };
    if (argc != 2)
        return 2;
    path = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
