// The table, CONFIG SET and GET, typed reading, copies.
#include "config/config.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <cmocka.h>

static char error[512];

static void set(struct config *c, const char *name, const char *value)
{
    if (config_set(c, name, value, strlen(value), error, sizeof(error)))
        fail_msg("%s '%s': %s", name, value, error);
}

static void refuse(struct config *c, const char *name, const char *value, const char *message)
{
    char *before = config_get(c, name) ? strdup(config_get(c, name)) : NULL;
    assert_int_equal(config_set(c, name, value, strlen(value), error, sizeof(error)), -1);
    assert_string_equal(error, message);
    if (before)
        assert_string_equal(config_get(c, name), before); // untouched
    free(before);
}

static void table_is_sound(void **state)
{
    (void)state;
    unsigned n;
    const struct config_option *options = config_options(&n);
    for (unsigned i = 0; i < n; i++) {
        const struct config_option *o = &options[i];
        assert_ptr_equal(config_find_option(o->name), o); // so no name stands twice
        if (o->alias)
            assert_ptr_equal(config_find_option(o->alias), o);
        assert_non_null(o->topic);
        size_t len = strlen(o->help);
        if (!isupper((unsigned char)o->help[0]) || o->help[len - 1] != '.' || strchr(o->help, '\n'))
            fail_msg("%s: help is one sentence or more on one line", o->name);
        if ((o->flags & CONFIG_INERT) && !strstr(o->help, "Has no effect"))
            fail_msg("%s: help does not say why it has no effect", o->name);
        assert_true((o->type == CONFIG_ENUM) <= (o->words != NULL));
        assert_true(o->min <= o->max);
        assert_false((o->flags & CONFIG_FILE_ONLY) && (o->flags & CONFIG_RUNTIME));
    }
}

static void defaults_read_by_type(void **state)
{
    struct config *c = *state;
    const char *const *words;
    uint64_t bytes;
    assert_int_equal(config_integer(c, "port"), 6379);
    assert_int_equal(config_integer(c, "MaxMemory"), 0);
    assert_int_equal(config_integer(c, "client-query-buffer-limit"), 1 << 30);
    assert_true(config_bool(c, "protected-mode"));
    assert_string_equal(config_string(c, "maxmemory-policy"), "noeviction");
    assert_int_equal(config_integer(c, "maxmemory-policy"), 7);
    assert_int_equal(config_list(c, "bind", &words), 2);
    assert_string_equal(words[1], "-::*");
    assert_int_equal(config_list(c, "nic-device", &words), 0);
    assert_int_equal(config_multi(c, "user", 0, &words), 0);
    assert_false(config_percent_or_memory(c, "maxmemory-clients", 1000, &bytes));
    assert_int_equal(bytes, 0);
    assert_null(config_path(c));
    assert_null(config_get(c, "no-such-option"));
    assert_null(config_get(c, "user"));
    char here[4096];
    assert_string_equal(config_get(c, "dir"), getcwd(here, sizeof(here)));
    struct config_output_limit limit = config_output_limit(c, "replica");
    assert_int_equal(limit.hard, 256 << 20);
    assert_int_equal(limit.soft, 64 << 20);
    assert_int_equal(limit.soft_seconds, 60);
    assert_int_equal(config_output_limit(c, "normal").hard, 0);
}

static void set_and_get(void **state)
{
    struct config *c = *state;
    static const struct {
        const char *name, *value, *shown;
    } cases[] = {
        {"maxmemory", "100mb", "104857600"},
        {"maxmemory", "1k", "1000"},
        {"maxmemory", "2GB", "2147483648"},
        {"maxmemory", "9223372036854775807", "9223372036854775807"},
        {"repl-backlog-size", "1", "16384"},
        {"maxmemory-clients", "5%", "5%"},
        {"maxmemory-clients", "0%", "0"},
        {"appendonly", "YES", "yes"},
        {"maxmemory-policy", "AllKeys-LRU", "allkeys-lru"},
        {"save", "", ""},
        {"save", "60 1 30 5", "60 1 30 5"},
        {"save", "10 1", "10 1"}, // replaces
        {"notify-keyspace-events", "KEA", "AKE"},
        {"notify-keyspace-events", "Eg$lshzxetdn", "AE"},
        {"notify-keyspace-events", "mKx$", "$xKm"},
        {"client-output-buffer-limit", "replica 1mb 0 10",
         "normal 0 0 0 slave 1048576 0 10 pubsub 33554432 8388608 60"},
        {"client-output-buffer-limit", "normal 1 2 3 pubsub 4 5 6",
         "normal 1 2 3 slave 1048576 0 10 pubsub 4 5 6"},
        {"oom-score-adj", "relative", "yes"},
        {"oom-score-adj-values", "-1 2 3", "-1 2 3"},
        {"shutdown-on-sigterm", "force SAVE", "save force"},
        {"shutdown-on-sigterm", "default", "default"},
        {"latency-tracking-info-percentiles", "1e1 99.95", "10 99.95"},
        {"bind", "", ""},
        {"bind", "127.0.0.1 ::1", "127.0.0.1 ::1"},
        {"hz", "0", "1"},
        {"hz", "1000", "500"},
        {"requirepass", "a b \"c", "a b \"c"},
        {"slave-priority", "7", "7"},
        {"proc-title-template", "{{x} {port}", "{{x} {port}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        set(c, cases[i].name, cases[i].value);
        assert_string_equal(config_get(c, cases[i].name), cases[i].shown);
    }
    assert_int_equal(config_integer(c, "replica-priority"), 7);
    uint64_t bytes;
    set(c, "maxmemory-clients", "5%");
    assert_true(config_percent_or_memory(c, "maxmemory-clients", 2000, &bytes));
    assert_int_equal(bytes, 100);
    assert_int_equal(config_output_limit(c, "pubsub").soft_seconds, 6);
}

static void refused_values(void **state)
{
    struct config *c = *state;
    refuse(c, "nosuch", "1", "Unknown option or number of arguments for CONFIG SET - 'nosuch'");
    refuse(c, "user", "a on", "Unknown option or number of arguments for CONFIG SET - 'user'");
    refuse(c, "databases", "4", "can't set immutable config");
    refuse(c, "transport", "dpdk", "can't set immutable config");
    refuse(c, "dbfilename", "x.rdb", "can't set protected config");
    refuse(c, "port", "x", "argument couldn't be parsed into an integer");
    refuse(c, "port", "007", "argument couldn't be parsed into an integer");
    refuse(c, "port", "+7", "argument couldn't be parsed into an integer");
    refuse(c, "port", "70000", "argument must be between 0 and 65535 inclusive");
    refuse(c, "maxmemory", "99999999999999999999",
           "argument must be between 0 and 9223372036854775807 inclusive");
    refuse(c, "maxmemory", "9999999999999999999gb",
           "argument must be between 0 and 9223372036854775807 inclusive");
    refuse(c, "maxmemory", "1t", "argument must be a memory value");
    refuse(c, "maxmemory-clients", "101%", "percentage argument must be less or equal to 100");
    refuse(c, "maxmemory-clients", "1.5%", "argument must be a memory or percent value");
    refuse(c, "appendonly", "1", "argument must be 'yes' or 'no'");
    refuse(c, "appendfsync", "now",
           "argument(s) must be one of the following: everysec, always, no");
    refuse(c, "save", "60", "Invalid save parameters");
    refuse(c, "save", "60 -1", "Invalid save parameters");
    refuse(c, "cluster-announce-hostname", "a_b",
           "Hostnames may only contain alphanumeric characters, hyphens or dots");
    refuse(c, "notify-keyspace-events", "Q",
           "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
    refuse(c, "client-output-buffer-limit", "master 0 0 0",
           "Invalid client class specified in buffer limit configuration.");
    refuse(c, "shutdown-on-sigint", "save nosave",
           "shutdown options SAVE and NOSAVE can't be used simultaneously");
    refuse(c, "proc-title-template", "{zork}",
           "template format is invalid or contains unknown variables");
    assert_int_equal(config_set(c, "requirepass", "a\0b", 3, error, sizeof(error)), -1);
}

static void protected_options(void **state)
{
    struct config *c = *state;
    assert_int_equal(
        config_load_text(c, "enable-protected-configs yes\n", "t", error, sizeof(error)), 0);
    set(c, "dbfilename", "x.rdb");
    refuse(c, "dbfilename", "a/b", "dbfilename can't be a path, just a filename");
    refuse(c, "dir", "/no/such/folder", "No such file or directory");
    refuse(c, "dir", "/dev/null", "Not a directory");
    set(c, "dir", "/usr/../tmp/.");
    assert_string_equal(config_get(c, "dir"), "/tmp");
}

static void copies_are_apart(void **state)
{
    struct config *c = *state;
    set(c, "maxmemory", "1mb");
    struct config *copy = config_copy(c);
    set(copy, "maxmemory", "2mb");
    assert_int_equal(config_integer(c, "maxmemory"), 1 << 20);
    assert_int_equal(config_integer(copy, "maxmemory"), 2 << 20);
    config_free(copy);
    assert_string_equal(config_get(c, "maxmemory"), "1048576");
}

struct seen {
    unsigned n;
    char names[4096];
};

static void note(void *context, const char *name, const char *value)
{
    struct seen *s = context;
    assert_non_null(value);
    s->n++;
    if (s->n < 20)
        strcat(strcat(s->names, name), " ");
}

static void matching(void **state)
{
    struct config *c = *state;
    static const struct {
        const char *pattern, *names;
    } cases[] = {
        {"maxmemory", "maxmemory "},
        {"MAXMEMORY", "MAXMEMORY "}, // as it was asked for
        {"*max-*ziplist-e*", "hash-max-ziplist-entries zset-max-ziplist-entries "},
        {"repl*-priority", "replica-priority "},
        {"*E-PRIORITY", "slave-priority "},
        {"watchdog*", ""}, // hidden from patterns
        {"watchdog-period", "watchdog-period "},
        {"user", ""},
        {"nosuch", ""},
        {"[", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct seen s = {0};
        config_match(c, cases[i].pattern, strlen(cases[i].pattern), note, &s);
        assert_string_equal(s.names, cases[i].names);
    }
    struct seen s = {0};
    unsigned n, shown = 0;
    const struct config_option *options = config_options(&n);
    for (unsigned i = 0; i < n; i++) {
        if (!(options[i].flags & (CONFIG_HIDDEN | CONFIG_FILE_ONLY)))
            shown += options[i].alias ? 2 : 1;
    }
    config_match(c, "*", 1, note, &s);
    assert_int_equal(s.n, shown);
}

static int setup(void **state)
{
    *state = config_new();
    return 0;
}

static int teardown(void **state)
{
    config_free(*state);
    return 0;
}

#define each_with_config(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_sound),    each_with_config(defaults_read_by_type),
        each_with_config(set_and_get),       each_with_config(refused_values),
        each_with_config(protected_options), each_with_config(copies_are_apart),
        each_with_config(matching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
