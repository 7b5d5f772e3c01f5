// A small table of commands for tests and fuzzing of access control.
#pragma once

#include <string.h>
#include <strings.h>

#include "dataplane/access/access.h"

enum { GET, MGET, SET, DEL, CONFIG, CONFIG_GET, CONFIG_SET, SELECT, PUBLISH, AUTH, COMMANDS };
enum { CAT_OF_READ = 1, CAT_OF_WRITE = 2, CAT_OF_SLOW = 4, CAT_OF_FAST = 8 };

static const struct access_command test_commands[COMMANDS] = {
    [GET] = {"get", CAT_OF_READ | CAT_OF_FAST, GET, 0},
    [MGET] = {"mget", CAT_OF_READ | CAT_OF_FAST, MGET, 0},
    [DEL] = {"del", CAT_OF_WRITE | CAT_OF_SLOW, DEL, 0},
    [SET] = {"set", CAT_OF_WRITE | CAT_OF_SLOW, SET, 0},
    [CONFIG] = {"config", CAT_OF_SLOW, CONFIG, 2},
    [CONFIG_GET] = {"config|get", CAT_OF_SLOW, CONFIG, 0},
    [CONFIG_SET] = {"config|set", CAT_OF_SLOW, CONFIG, 0},
    [SELECT] = {"select", CAT_OF_FAST, SELECT, 0},
    [PUBLISH] = {"publish", CAT_OF_FAST, PUBLISH, 0},
    [AUTH] = {"auth", CAT_OF_FAST, AUTH, 0},
};

static int test_find(const char *name, size_t len)
{
    for (int i = 0; i < COMMANDS; i++)
        if (strlen(test_commands[i].name) == len &&
            strncasecmp(test_commands[i].name, name, len) == 0)
            return i;
    return -1;
}

static const char *const test_categories[] = {"read", "write", "slow", "fast"};
static const struct access_table test_table = {
    .n_commands = COMMANDS,
    .commands = test_commands,
    .n_categories = 4,
    .categories = test_categories,
    .find = test_find,
};
