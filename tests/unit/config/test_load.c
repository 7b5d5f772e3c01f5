// Files and command lines.
#include "config/config.h"
#include "tests/unit/config/folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

static char error[1024];

static struct config *load(const char *text)
{
    struct config *c = config_new();
    if (config_load_text(c, text, "t.conf", error, sizeof(error)))
        fail_msg("%s", error);
    return c;
}

static void shows(const struct config *c, const char *name, const char *value)
{
    assert_string_equal(config_get(c, name), value);
}

static void lines(void **state)
{
    (void)state;
    struct config *c = load("# comment\r\n"
                            "\n"
                            "   \t# indented comment\n"
                            "PORT 7000\r\n"
                            "\tmaxmemory\t1gb \n"
                            "requirepass \"with # and \\x20 blank\"\n"
                            "logfile ''\n"
                            "bind 127.0.0.1 -::1\n"
                            "save 60 1\n"
                            "save 30 5 10 2\n"
                            "user alice on +@all\n"
                            "user bob off\n"
                            "rename-command CONFIG \"\"\n"
                            "client-output-buffer-limit pubsub 1mb 0 0\n"
                            "client-output-buffer-limit normal 2mb 0 0\n"
                            "list-max-ziplist-entries 5\n"
                            "port 7001");
    const char *const *words;
    shows(c, "port", "7001"); // the last one counts
    shows(c, "maxmemory", "1073741824");
    shows(c, "requirepass", "with # and   blank");
    shows(c, "bind", "127.0.0.1 -::1");
    shows(c, "save", "60 1 30 5 10 2");
    shows(c, "client-output-buffer-limit",
          "normal 2097152 0 0 slave 268435456 67108864 60 pubsub 1048576 0 0");
    assert_int_equal(config_multi(c, "user", 0, &words), 3);
    assert_string_equal(words[2], "+@all");
    assert_int_equal(config_multi(c, "user", 1, &words), 2);
    assert_string_equal(words[0], "bob");
    assert_int_equal(config_multi(c, "user", 2, &words), 0);
    assert_int_equal(config_multi(c, "rename-command", 0, &words), 2);
    assert_string_equal(words[1], "");
    config_free(c);

    c = load("save 60 1\nsave \"\"\nsave 5 5\n");
    shows(c, "save", "5 5");
    config_free(c);
    c = load("replicaof localhost 6379\nreplicaof no one\n");
    shows(c, "replicaof", "");
    config_free(c);
}

static void wrong_lines(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"\n\nprot 1\n", "t.conf:3: 'prot' is no option; did you mean 'port'?"},
        {"maxmemroy 1\n", "t.conf:1: 'maxmemroy' is no option; did you mean 'maxmemory'?"},
        {"SLAVE-PRIORTY 1\n", "t.conf:1: 'SLAVE-PRIORTY' is no option; did you mean "
                              "'slave-priority'?"},
        {"qwertyuiop\n", "t.conf:1: 'qwertyuiop' is no option; pollux.conf(5) lists them all"},
        {"port\n", "t.conf:1: 'port' wrong number of arguments; write a whole number, as 'port "
                   "6379'"},
        {"port 1 2\n", "t.conf:1: 'port' wrong number of arguments; write a whole number, as "
                       "'port 6379'"},
        {"#\nport x\n", "t.conf:2: 'port' cannot be 'x': argument couldn't be parsed into an "
                        "integer; write a whole number, as 'port 6379'"},
        {"appendonly maybe", "t.conf:1: 'appendonly' cannot be 'maybe': argument must be 'yes' or "
                             "'no'; write 'appendonly yes' or 'appendonly no'"},
        {"port \"1", "t.conf:1: 'port' has a quote that is not closed, or text right behind a "
                     "closing quote"},
        {"rename-command get\n", "t.conf:1: 'rename-command' wrong number of arguments; see "
                                 "'rename-command' in pollux.conf(5)"},
        {"unixsocketperm 1000\n", "t.conf:1: 'unixsocketperm' cannot be '1000': argument must be "
                                  "between 0 and 777 inclusive; write three octal digits, as "
                                  "'unixsocketperm 700'"},
        {"include a b", "t.conf:1: 'include' takes one path; put it in quotes if it has blanks"},
        {"include /no/such/file", "t.conf:1: 'include' cannot open '/no/such/file': No such "
                                  "file or directory; check the path and its rights"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config *c = config_new();
        assert_int_equal(config_load_text(c, cases[i].text, "t.conf", error, sizeof(error)), -1);
        assert_string_equal(error, cases[i].message);
        config_free(c);
    }
}

// A password is not repeated in a message that ends in a log.
static void secrets_stay_out_of_messages(void **state)
{
    (void)state;
    struct config *c = config_new();
    assert_int_equal(
        config_load_text(c, "requirepass hunter2 hunter3\n", "t", error, sizeof(error)), -1);
    assert_null(strstr(error, "hunter"));
    config_free(c);
}

static void includes(void **state)
{
    struct folder *f = *state;
    char text[512];
    folder_write(f, "10-a.conf", "maxmemory 1mb\nport 1\n");
    folder_write(f, "20-b.conf", "maxmemory 2mb\n");
    folder_write(f, "more.txt", "port 3\n");
    snprintf(text, sizeof(text),
             "port 2\ninclude %s/*.conf\ninclude \"%s/more.txt\"\n"
             "include %s/none*\ntimeout 9\n",
             f->path, f->path, f->path);
    struct config *c = load(text);
    shows(c, "maxmemory", "2097152"); // in order of name
    shows(c, "port", "3");
    shows(c, "timeout", "9");
    config_free(c);

    folder_write(f, "bad.conf", "port 1\nprot 1\n");
    snprintf(text, sizeof(text), "include %s/bad.conf\n", f->path);
    c = config_new();
    assert_int_equal(config_load_text(c, text, "t", error, sizeof(error)), -1);
    assert_non_null(strstr(error, "/bad.conf:2: 'prot'")); // the place is the included file's
    config_free(c);

    snprintf(text, sizeof(text), "include %s/self.conf\n", f->path);
    c = config_new();
    assert_int_equal(config_load_file(c, folder_write(f, "self.conf", text), error, sizeof(error)),
                     -1);
    assert_non_null(strstr(error, "nested too deep"));
    config_free(c);
}

static void files(void **state)
{
    struct folder *f = *state;
    struct config *c = config_new();
    assert_int_equal(config_load_file(c, "/no/such/file", error, sizeof(error)), -1);
    assert_string_equal(error, "/no/such/file: cannot be opened: No such file or directory; check "
                               "the path and its rights");
    assert_null(config_path(c));
    assert_int_equal(config_load_file(c, "/tmp", error, sizeof(error)), -1);
    assert_int_equal(config_load_file(c, "/dev/zero", error, sizeof(error)), -1); // bounded
    assert_int_equal(
        config_load_file(c, folder_write(f, "a.conf", "port 5\n"), error, sizeof(error)), 0);
    assert_string_equal(config_path(c), f->name);
    shows(c, "port", "5");
    config_free(c);
}

static struct config *load_words(int expected, int argc, char **argv)
{
    struct config *c = config_new();
    if (config_load_arguments(c, argc, argv, error, sizeof(error)) != expected)
        fail_msg("%s %s: %s", argv[0], argc > 1 ? argv[1] : "", error);
    return c;
}

#define load_arguments(expected, ...) \
    load_words(expected, sizeof((char *[]){__VA_ARGS__}) / sizeof(char *), (char *[]){__VA_ARGS__})

static void arguments(void **state)
{
    struct folder *f = *state;
    struct config *c = load_arguments(0, "--port", "7000", "--port", "7001");
    shows(c, "port", "7001");
    config_free(c);
    c = load_arguments(0, "--port 7002", "--save", "", "--bind", "127.0.0.1", "::1");
    shows(c, "port", "7002");
    shows(c, "save", "");
    shows(c, "bind", "127.0.0.1 ::1");
    config_free(c);
    c = load_arguments(0, "--save", "60", "1", "--save", "30", "2");
    shows(c, "save", "60 1 30 2");
    config_free(c);
    c = load_arguments(0, "--save", "--port", "1"); // `--save` alone is `save ""`
    shows(c, "save", "");
    shows(c, "port", "1");
    config_free(c);
    c = load_arguments(0, "--port", "1", "--save");
    shows(c, "save", "");
    config_free(c);
    c = load_arguments(0, "--requirepass", "--secret", "--port", "9"); // the value of one
    shows(c, "requirepass", "--secret");
    shows(c, "port", "9");
    config_free(c);
    c = load_arguments(0, "--requirepass", "a \"b\" \\ #");
    shows(c, "requirepass", "a \"b\" \\ #");
    config_free(c);

    folder_write(f, "a.conf", "port 1\nsave 60 1\ntimeout 7\n");
    c = load_arguments(0, f->name, "--port", "2", "--save", "30", "2");
    shows(c, "port", "2"); // the command line comes after the file
    shows(c, "timeout", "7");
    shows(c, "save", "60 1 30 2");
    assert_string_equal(config_path(c), f->name);
    config_free(c);

    c = load_arguments(-1, "--prot", "1");
    assert_string_equal(error, "command line: '--prot' is no option; did you mean '--port'?");
    config_free(c);
    c = load_arguments(-1, "-x", "1");
    assert_string_equal(error, "command line: '-x' is no option; pollux.conf(5) lists them all");
    config_free(c);
    c = load_arguments(-1, "--port");
    assert_string_equal(error, "command line: '--port' wrong number of arguments; write a whole "
                               "number, as 'port 6379'");
    config_free(c);
}

static void standard_input(void **state)
{
    struct folder *f = *state;
    folder_write(f, "in", "port 1\ntimeout 7\n");
    assert_non_null(freopen(f->name, "r", stdin));
    struct config *c = load_arguments(0, "--port", "2", "-");
    shows(c, "timeout", "7");
    shows(c, "port", "2");
    assert_null(config_path(c));
    config_free(c);
}

// Lines made of options, half values and odd bytes: refused or taken, with one line of reason, and
// never worse.
static void random_lines(void **state)
{
    (void)state;
    static const char *const pieces[] = {" ",
                                         "\n",
                                         "\"",
                                         "'",
                                         "\\",
                                         "\\x4",
                                         "#",
                                         "1",
                                         "-1",
                                         "yes",
                                         "gb",
                                         "%",
                                         "include",
                                         "/no*",
                                         "\xff",
                                         "\t",
                                         "\r",
                                         "A",
                                         "normal 0 0 0",
                                         "60 1",
                                         "99999999999999999999"};
    enum { PIECES = sizeof(pieces) / sizeof(pieces[0]), ROUNDS = 20000, LENGTH = 12 };
    unsigned n, taken = 0;
    const struct config_option *options = config_options(&n);
    uint64_t seed = 3;
    struct config *c = config_new();
    for (unsigned round = 0; round < ROUNDS; round++) {
        char text[LENGTH * 40] = "";
        for (unsigned i = 0; i < LENGTH; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            unsigned random = (unsigned)(seed >> 33);
            const struct config_option *o = &options[random / 8 % n];
            // The option `include` may meet a path, and `dir` would change nothing here.
            strcat(text, i == 0 || random % 8 == 0 ? o->name : pieces[random / 8 % PIECES]);
            strcat(text, i == 0 ? " " : "");
        }
        error[0] = 0;
        int result = config_load_text(c, text, "t", error, sizeof(error));
        assert_true((result == -1) == (error[0] != 0));
        assert_null(strchr(error, '\n'));
        taken += result == 0;
    }
    assert_true(taken > ROUNDS / 100);
    config_free(c);
}

static int setup(void **state)
{
    *state = folder_new();
    return 0;
}

static int teardown(void **state)
{
    folder_free(*state);
    return 0;
}

#define with_folder(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),
        cmocka_unit_test(wrong_lines),
        cmocka_unit_test(secrets_stay_out_of_messages),
        cmocka_unit_test(random_lines),
        with_folder(includes),
        with_folder(files),
        with_folder(arguments),
        with_folder(standard_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
