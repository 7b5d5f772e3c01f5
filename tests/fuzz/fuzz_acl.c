// Rules of users that nobody sane writes. The input is rules, one a line: those that are taken make
// a user, whose description must give the same user again, and its line in a file, too. The input
// as a file of users must be refused or come out the same when it is saved and read again.
//
// Built with -Dfuzz=true it is a libFuzzer target; otherwise `fuzz_acl ROUNDS [SEED]` makes its own
// inputs: rules that are well formed, and what becomes of them with some bytes changed.
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/block.h"
#include "common/outbuf.h"
#include "tests/unit/access/table.h"

enum { INPUT_MAX = 4096 };

static struct block *text_of(struct outbuf *b)
{
    out_write(&b->out, "", 1);
    struct block *all = outbuf_block(b);
    assert(all);
    outbuf_clear(b);
    return all;
}

static struct block *described(const struct access_user *u)
{
    struct outbuf b;
    outbuf_init(&b);
    access_describe(u, &test_table, &b.out);
    return text_of(&b);
}

// Grants the same, key by key and channel by channel.
static void same_rights(const struct access_user *a, const struct access_user *b)
{
    static const char *const names[] = {"", "a", "b", "k1", "*", "a'b", "c)"};
    for (unsigned command = 0; command < COMMANDS; command++)
        for (unsigned n = 0; n < sizeof(names) / sizeof(names[0]); n++)
            for (unsigned flags = 0; flags < 16; flags++) {
                struct access_use use = {
                    .ptr = names[n], .len = strlen(names[n]), .at = 1, .flags = flags};
                struct access_attempt attempt = {.command = command,
                                                 .first = names[n],
                                                 .first_len = strlen(names[n]),
                                                 .uses = &use,
                                                 .n_uses = 1};
                int at_a, at_b;
                bool same = access_check(a, &attempt, &at_a) == access_check(b, &attempt, &at_b) &&
                            at_a == at_b;
                assert(same);
                (void)same;
            }
}

static struct block *saved(const struct access_users *s)
{
    struct outbuf b;
    outbuf_init(&b);
    access_users_save(s, &test_table, &b.out);
    return text_of(&b);
}

static struct access_users *loaded(const char *text, size_t len)
{
    struct outbuf errors;
    outbuf_init(&errors);
    struct access_users *s =
        access_users_load(NULL, &test_table, text, len, "file", false, &errors.out);
    assert(s ? outbuf_size(&errors) == 0 : outbuf_size(&errors) > 0);
    outbuf_clear(&errors);
    return s;
}

// What is saved is read again, and is the same then.
static void keep(const struct access_users *s)
{
    struct block *first = saved(s);
    struct access_users *again = loaded((const char *)first->data, first->len - 1);
    assert(again);
    struct block *second = saved(again);
    assert(first->len == second->len && memcmp(first->data, second->data, first->len) == 0);
    block_release(first);
    block_release(second);
    access_users_drop(again);
}

static void one_user(const char *text, size_t len)
{
    struct access_user *u = access_user_new("u", 1, false);
    assert(u);
    for (size_t from = 0; from <= len;) {
        const char *end = memchr(text + from, '\n', len - from);
        size_t to = end ? (size_t)(end - text) : len;
        (void)access_user_apply(u, &test_table, (struct access_rule){text + from, to - from},
                                false);
        from = to + 1;
    }
    struct block *description = described(u);
    struct access_users *none = access_users_new(), *one = access_users_with(none, u);
    assert(none && one);
    keep(one);
    // The same by one line, as the configuration has it.
    char *line = malloc(description->len + 16);
    assert(line);
    int n = sprintf(line, "user u %s", (const char *)description->data);
    struct access_users *again = loaded(line, (size_t)n);
    assert(again);
    same_rights(u, access_users_find(again, "u", 1));
    access_users_drop(again);
    access_users_drop(one);
    access_users_drop(none);
    block_release(description);
    free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > INPUT_MAX)
        return 0;
    one_user((const char *)data, size);
    struct access_users *s = loaded((const char *)data, size);
    if (s)
        keep(s);
    access_users_drop(s);
    return 0;
}

#ifndef FUZZ_LIBFUZZER
static uint64_t state;

static uint32_t below(uint32_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % n;
}

static const char *const words[] = {
    "on",
    "off",
    "nopass",
    "resetpass",
    "reset",
    "+get",
    "-get",
    "+@read",
    "-@slow",
    "+@all",
    "-@all",
    "+config",
    "-config",
    "+config|get",
    "-config|set",
    "+select|0",
    "+select|a",
    "~a",
    "~*",
    "%R~k*",
    "%W~a",
    "%RW~*",
    "&c",
    "&*",
    "resetkeys",
    "resetchannels",
    "allkeys",
    ">p",
    "<p",
    "(",
    ")",
    "(+get ~a)",
    "(~a)",
    "(\"~a'b\")",
    "(~c) +get)",
    "clearselectors",
    "sanitize-payload",
    "user a",
    "user default",
    "user b on",
    "(%RW~* &c|)",
    "+get|\"",
    "(+select|')",
};

int main(int argc, char **argv)
{
    uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    static char text[INPUT_MAX];
    for (uint64_t i = 0; i < rounds; i++, seed++) {
        state = seed;
        size_t len = 0;
        for (uint32_t n = 1 + below(12); n; n--)
            len +=
                (size_t)sprintf(text + len, "%s%c", words[below(sizeof(words) / sizeof(words[0]))],
                                below(3) ? '\n' : ' ');
        for (uint32_t n = below(4); n > 1; n--)
            text[below((uint32_t)len)] =
                below(3) ? " ()\"'|~&%+-@\\\n"[below(14)] : (char)below(256);
        LLVMFuzzerTestOneInput((uint8_t *)text, len);
    }
    printf("%llu inputs\n", (unsigned long long)rounds);
    return 0;
}
#endif
