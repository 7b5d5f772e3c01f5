// What the tests of a family of commands share: a script that each test begins anew and that must
// leave no memory, single steps, and the effects that a step tells. `script_cores` may be set
// before a group runs.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants those first.
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/commands/command.h"
#include "tests/unit/commands/script.h"

#define WRONG_TYPE "-WRONGTYPE Operation against a key holding the wrong kind of value"

static struct script *s;
static unsigned script_cores = 1;

static inline int begin(void **state)
{
    (void)state;
    s = script_open(script_cores);
    return 0;
}

static inline int end(void **state)
{
    (void)state;
    script_run(s, "flushall");
    script_maintain(s);
    assert_int_equal(script_memory(s), 0);
    script_close(s);
    return 0;
}

static inline void expect(const char *line, const char *reply)
{
    script_play(s, (const struct step[]){{line, reply}, {NULL, NULL}});
}

static inline void expect_effects(const char *line, const char *reply, const char *effects)
{
    expect(line, reply);
    assert_string_equal(script_effects(s), effects);
}
