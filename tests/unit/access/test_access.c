// Users: rules, what they grant, how they are described, kept in sets and files, and the log.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/block.h"
#include "common/outbuf.h"
#include "tests/unit/access/table.h"

static char shown[8192];

static const char *show(struct outbuf *b)
{
    struct block *all = outbuf_block(b);
    snprintf(shown, sizeof(shown), "%.*s", all ? (int)all->len : 0,
             all ? (const char *)all->data : "");
    block_release(all);
    outbuf_clear(b);
    return shown;
}

static const char *described(const struct access_user *u)
{
    struct outbuf b;
    outbuf_init(&b);
    access_describe(u, &test_table, &b.out);
    return show(&b);
}

static enum access_error apply(struct access_user *u, const char *rule)
{
    return access_user_apply(u, &test_table, (struct access_rule){rule, strlen(rule)}, false);
}

static struct access_user *user_of(const char *const *rules)
{
    struct access_user *u = access_user_new("u", 1, false);
    assert_non_null(u);
    for (; *rules; rules++)
        assert_int_equal(apply(u, *rules), ACCESS_OK);
    return u;
}
#define USER(...) user_of((const char *const[]){__VA_ARGS__, NULL})

static void rules_and_descriptions(void **state)
{
    (void)state;
    static const struct {
        const char *rules[6], *description;
    } cases[] = {
        {{"on"}, "on resetchannels -@all"},
        {{"+@all", "~*", "&*", "nopass", "on"}, "on nopass ~* &* +@all"},
        {{"+get", "~a", "~a", "%R~b"}, "off ~a %R~b resetchannels -@all +get"},
        {{"%R~a", "%W~a"}, "off ~a resetchannels -@all"},
        {{"+@read"}, "off resetchannels -@all +@read"},
        {{"+@all", "-@slow", "+config|get"}, "off resetchannels +@all -@write -config +config|get"},
        {{"+config", "-config|set"}, "off resetchannels -@all +config -config|set"},
        {{"+config|get", "+config|set"}, "off resetchannels -@all +config|get +config|set"},
        {{"+select|0", "+select|1"}, "off resetchannels -@all +select|0 +select|1"},
        {{"+select|0", "+select"}, "off resetchannels -@all +select"},
        {{"(+get ~x)", "( )"},
         "off resetchannels -@all (~x resetchannels -@all +get) "
         "(resetchannels -@all)"},
        {{"(\"~a'b\" ~c))"}, "off resetchannels -@all (\"~a'b\" \"~c)\" resetchannels -@all)"},
        {{"%RW~*"}, "off %RW~* resetchannels -@all"},
        {{"+get", "reset"}, "off sanitize-payload resetchannels -@all"},
        {{"&a", "&b", "resetchannels", "&c"}, "off resetchannels &c -@all"},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct access_user *u = user_of(cases[i].rules);
        assert_string_equal(described(u), cases[i].description);
        access_user_drop(u);
    }
}

static void wrong_rules(void **state)
{
    (void)state;
    static const struct {
        const char *rule;
        enum access_error error;
    } cases[] = {
        {"", ACCESS_OK},
        {"foo", ACCESS_ERROR_SYNTAX},
        {"+nosuch", ACCESS_ERROR_UNKNOWN},
        {"+@nosuch", ACCESS_ERROR_UNKNOWN},
        {"-config|nosuch", ACCESS_ERROR_UNKNOWN},
        {"+config|get|x", ACCESS_ERROR_NESTED_FIRST},
        {"+get|", ACCESS_ERROR_SYNTAX},
        {"+select|a b", ACCESS_ERROR_SYNTAX},
        {"%~x", ACCESS_ERROR_SYNTAX},
        {"%RR~x", ACCESS_ERROR_SYNTAX},
        {"~a b", ACCESS_ERROR_SYNTAX},
        {"#12", ACCESS_ERROR_HASH},
        {"<nope", ACCESS_ERROR_NO_PASSWORD},
        {"(on)", ACCESS_ERROR_SYNTAX},
        {"(+nosuch)", ACCESS_ERROR_UNKNOWN},
    };
    struct access_user *u = USER("+get", "~k");
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(apply(u, cases[i].rule), cases[i].error);
        assert_string_equal(described(u), "off ~k resetchannels -@all +get");
    }
    assert_int_equal(apply(u, "allkeys"), ACCESS_OK);
    assert_int_equal(apply(u, "~x"), ACCESS_ERROR_ALL_KEYS);
    assert_int_equal(apply(u, "allchannels"), ACCESS_OK);
    assert_int_equal(apply(u, "&x"), ACCESS_ERROR_ALL_CHANNELS);
    access_user_drop(u);
}

static enum access_denial attempt(const struct access_user *u, unsigned command, const char *name,
                                  unsigned flags, const char *first)
{
    struct access_use use = {.ptr = name, .len = name ? strlen(name) : 0, .at = 1, .flags = flags};
    struct access_attempt a = {.command = command,
                               .for_all = command == AUTH,
                               .first = first,
                               .first_len = first ? strlen(first) : 0,
                               .uses = &use,
                               .n_uses = name != NULL};
    int at;
    return access_check(u, &a, &at);
}

static void checks(void **state)
{
    (void)state;
    struct access_user *u = USER("+get", "+set", "+select|0", "~k*", "%R~r*", "%W~w*");
    assert_int_equal(attempt(u, GET, "k1", ACCESS_READ, NULL), ACCESS_GRANTED);
    assert_int_equal(attempt(u, GET, "r1", ACCESS_READ, NULL), ACCESS_GRANTED);
    assert_int_equal(attempt(u, GET, "w1", ACCESS_READ, NULL), ACCESS_DENIED_KEY);
    assert_int_equal(attempt(u, SET, "w1", ACCESS_WRITE, NULL), ACCESS_GRANTED);
    assert_int_equal(attempt(u, SET, "r1", ACCESS_WRITE, NULL), ACCESS_DENIED_KEY);
    assert_int_equal(attempt(u, SET, "w1", ACCESS_READ | ACCESS_WRITE, NULL), ACCESS_DENIED_KEY);
    assert_int_equal(attempt(u, GET, "w1", 0, NULL), ACCESS_GRANTED); // whether it is there
    assert_int_equal(attempt(u, CONFIG_GET, NULL, 0, NULL), ACCESS_DENIED_COMMAND);
    assert_int_equal(attempt(u, SELECT, NULL, 0, "0"), ACCESS_GRANTED);
    assert_int_equal(attempt(u, SELECT, NULL, 0, "1"), ACCESS_DENIED_COMMAND);
    assert_int_equal(attempt(u, SELECT, NULL, 0, NULL), ACCESS_DENIED_COMMAND);
    assert_int_equal(attempt(u, AUTH, NULL, 0, "x"), ACCESS_GRANTED);
    assert_int_equal(apply(u, "(+publish &c* &p)"), ACCESS_OK);
    assert_int_equal(attempt(u, PUBLISH, "c1", ACCESS_CHANNEL, NULL), ACCESS_GRANTED);
    assert_int_equal(attempt(u, PUBLISH, "d", ACCESS_CHANNEL, NULL), ACCESS_DENIED_CHANNEL);
    assert_int_equal(attempt(u, PUBLISH, "c*", ACCESS_CHANNEL | ACCESS_PATTERN, NULL),
                     ACCESS_GRANTED);
    assert_int_equal(attempt(u, PUBLISH, "c1", ACCESS_CHANNEL | ACCESS_PATTERN, NULL),
                     ACCESS_DENIED_CHANNEL);
    assert_false(access_user_unlimited(u));
    assert_int_equal(apply(u, "(+@all ~* &*)"), ACCESS_OK);
    assert_true(access_user_unlimited(u));
    access_user_drop(u);
}

static void channels_that_stay(void **state)
{
    (void)state;
    struct access_user *all = USER("&*"), *ab = USER("&a", "&b"), *a = USER("(&a)"),
                       *b = USER("&b");
    assert_true(access_keeps_channels(all, ab));
    assert_true(access_keeps_channels(ab, a));
    assert_true(access_keeps_channels(a, a));
    assert_false(access_keeps_channels(ab, all));
    assert_false(access_keeps_channels(a, ab));
    assert_false(access_keeps_channels(a, b));
    access_user_drop(all);
    access_user_drop(ab);
    access_user_drop(a);
    access_user_drop(b);
}

static void passwords(void **state)
{
    (void)state;
    struct access_user *u = USER("on", ">one", ">two");
    assert_true(access_user_is(u, "one", 3) && access_user_is(u, "two", 3));
    assert_false(access_user_is(u, "three", 5) || access_user_is(u, "", 0));
    assert_int_equal(apply(u, "<one"), ACCESS_OK);
    assert_false(access_user_is(u, "one", 3));
    assert_int_equal(apply(u, "off"), ACCESS_OK);
    assert_false(access_user_is(u, "two", 3));
    assert_int_equal(apply(u, "on"), ACCESS_OK);
    assert_int_equal(apply(u, "nopass"), ACCESS_OK);
    assert_true(access_user_is(u, "any", 3));
    char hash[ACCESS_HASH_LEN];
    access_hash("abc", 3, hash);
    assert_memory_equal(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                        ACCESS_HASH_LEN);
    access_user_drop(u);
}

static void sets(void **state)
{
    (void)state;
    const struct access_users *s = access_users_new();
    static const char *const names[] = {"zoe", "ann", "default2", "def", ""};
    for (unsigned i = 0; i < 5; i++) {
        struct access_user *u = access_user_new(names[i], strlen(names[i]), false);
        const struct access_users *more = access_users_with(s, u);
        access_users_drop(s);
        s = more;
    }
    assert_int_equal(s->n, 6);
    for (unsigned i = 1; i < s->n; i++)
        assert_true(strcmp(access_user_name(s->at[i - 1], NULL), access_user_name(s->at[i], NULL)) <
                    0);
    const struct access_user *ann = access_users_find(s, "ann", 3);
    assert_non_null(ann);
    assert_null(access_users_find(s, "an", 2));
    struct access_user *copy = access_user_copy(ann);
    assert_int_equal(access_user_identity(copy), access_user_identity(ann));
    access_user_drop(copy);
    const struct access_users *fewer = access_users_without(s, "ann", 3);
    assert_null(access_users_find(fewer, "ann", 3));
    assert_int_equal(fewer->n, 5);
    assert_true(access_user_is_default(access_users_default(fewer)));
    access_users_drop(fewer);
    access_users_drop(s);
}

static const char *load(const char *text)
{
    struct outbuf errors, saved;
    outbuf_init(&errors);
    outbuf_init(&saved);
    struct access_users *before = access_users_new();
    struct access_users *s =
        access_users_load(before, &test_table, text, strlen(text), "F", false, &errors.out);
    if (s) {
        assert_int_equal(access_user_identity(access_users_default(s)),
                         access_user_identity(access_users_default(before)));
        access_users_save(s, &test_table, &saved.out);
        access_users_drop(s);
    }
    access_users_drop(before);
    bool good = s;
    if (good)
        outbuf_clear(&errors);
    return show(good ? &saved : &errors);
}

#define UNCHANGED \
    "WARNING: ACL errors detected, no change to the previously active ACL rules was performed"

static void files(void **state)
{
    (void)state;
    assert_string_equal(load(""), "user default on nopass ~* &* +@all\n");
    assert_string_equal(load("\n user a on +get ~k \r\nuser default off\n"),
                        "user a on ~k resetchannels -@all +get\n"
                        "user default off resetchannels -@all\n");
    assert_string_equal(load("user a (+get ~x) ( +set )\n"),
                        "user a off resetchannels -@all (~x resetchannels -@all +get) "
                        "(resetchannels -@all +set)\nuser default on nopass ~* &* +@all\n");
    assert_string_equal(load("foo\n\nuser a +nosuch foo bar\nuser a on\nuser b (+get\n"),
                        "F:1 should start with user keyword followed by the username. "
                        "F:3: Error in applying operation '+nosuch': Unknown command or category "
                        "name in ACL. F:3: Syntax error. WARNING: Duplicate user 'a' found on line "
                        "4. F:5: Unmatched parenthesis in selector definition." UNCHANGED);
    char many[4096] = "";
    for (int i = 0; i < 100; i++)
        sprintf(many + strlen(many), "user u%02d on\n", i);
    assert_int_equal(strlen(load(many)), 100 * strlen("user u00 on resetchannels -@all\n") +
                                             strlen("user default on nopass ~* &* +@all\n"));
}

static void log_entries(void **state)
{
    (void)state;
    struct access_log log = {0};
    struct access_entry e = {.reason = ACCESS_DENIED_KEY,
                             .object = (char *)"k",
                             .object_len = 1,
                             .user = (char *)"u",
                             .user_len = 1,
                             .client = (char *)"c",
                             .client_len = 1,
                             .last_ms = 1000};
    access_log_add(&log, &e, 3);
    e.last_ms = 2000;
    access_log_add(&log, &e, 3);
    assert_int_equal(log.n, 1);
    assert_int_equal(log.first->count, 2);
    assert_int_equal(log.first->last_ms, 2000);
    e.context = ACCESS_MULTI;
    access_log_add(&log, &e, 3);
    e.context = ACCESS_TOPLEVEL;
    e.last_ms = 3000;
    access_log_add(&log, &e, 3); // like the older one, which comes to the front
    assert_int_equal(log.n, 2);
    assert_int_equal(log.first->count, 3);
    e.last_ms = 100000; // too long ago
    access_log_add(&log, &e, 3);
    assert_int_equal(log.n, 3);
    e.object = (char *)"l";
    access_log_add(&log, &e, 3);
    assert_int_equal(log.n, 3);
    access_log_trim(&log, 1);
    assert_true(log.bytes > sizeof(struct access_entry));
    assert_int_equal(log.n, 1);
    assert_string_equal(log.first->object, "l");
    access_log_add(&log, &e, 0);
    access_log_trim(&log, 0);
    assert_int_equal(log.bytes, 0);
    assert_null(log.first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_and_descriptions),
        cmocka_unit_test(wrong_rules),
        cmocka_unit_test(checks),
        cmocka_unit_test(channels_that_stay),
        cmocka_unit_test(passwords),
        cmocka_unit_test(sets),
        cmocka_unit_test(files),
        cmocka_unit_test(log_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
