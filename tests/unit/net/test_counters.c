// The table of counters: what an operator is shown of it holds.
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/net/counters.h"

enum { WIDTH_MAX = 90 }; // of a description, so that a line of `polluxctl nic --explain` stays one

struct row {
    const char *name, *group, *text;
    size_t offset;
};

static const struct row rows[] = {
#define X(name, group, text) {#name, #group, text, offsetof(struct net_counters, name)},
    NET_COUNTERS(X)
#undef X
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static void names_and_places(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct net_counters), ROWS * sizeof(uint64_t));
    for (size_t i = 0; i < ROWS; i++) {
        assert_int_equal(rows[i].offset, i * sizeof(uint64_t));
        for (const char *p = rows[i].name; *p; p++)
            assert_true(islower((unsigned char)*p) || isdigit((unsigned char)*p) || *p == '_');
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(rows[i].name, rows[j].name);
    }
}

// One line for a person: no tab or newline (they separate fields on the way), not too wide.
static void descriptions(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        size_t len = strlen(rows[i].text);
        if (len < 5 || len > WIDTH_MAX || strpbrk(rows[i].text, "\t\n=") ||
            rows[i].text[len - 1] == '.')
            fail_msg("the description of %s: '%s'", rows[i].name, rows[i].text);
        for (size_t j = 0; j < i; j++)
            if (strcmp(rows[i].text, rows[j].text) == 0)
                fail_msg("%s and %s are described alike", rows[i].name, rows[j].name);
    }
}

// Every group is one that the header names, so that it is shown where it belongs.
static void groups(void **state)
{
    (void)state;
    static const char *const known[] = {"FRAMES", "DROPS",    "NEIGHBOUR", "IP",     "ICMP",
                                        "TCP",    "RECOVERY", "DEFENCES",  "QUEUES", "MEMORY"};
    for (size_t i = 0; i < ROWS; i++) {
        size_t k = 0;
        while (k < sizeof(known) / sizeof(known[0]) && strcmp(known[k], rows[i].group) != 0)
            k++;
        if (k == sizeof(known) / sizeof(known[0]))
            fail_msg("%s is in a group that counters.h does not name: %s", rows[i].name,
                     rows[i].group);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_places),
        cmocka_unit_test(descriptions),
        cmocka_unit_test(groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
