#include "dataplane/commands/shown.h"

#include <string.h>
#include <strings.h>

// --- secrets -----------------------------------------------------------------------------------

static bool named(const struct arg *a, const char *word)
{
    return a->len == strlen(word) && strncasecmp((const char *)a->ptr, word, a->len) == 0;
}

// One of the `n` arguments behind `word`, which stands at `first` or later and has them all.
static bool behind(const struct arg *argv, int argc, int first, const char *word, int n, int i)
{
    for (int at = first; at + n < argc; at++)
        if (i > at && i <= at + n && named(&argv[at], word))
            return true;
    return false;
}

static bool in_acl(const struct command *command, int i)
{
    return !strcmp(command->name, "setuser") && i >= 2;
}

static bool in_config(const struct services *services, struct core *core,
                      const struct command *command, const struct arg *argv, int i)
{
    return !strcmp(command->name, "set") && i >= 3 && i % 2 &&
           services->config_secret(core, (const char *)argv[i - 1].ptr, argv[i - 1].len);
}

bool shown_secret(const struct services *services, struct core *core, const struct command *command,
                  int argc, const struct arg *argv, int i)
{
    const char *family = command->parent ? command->parent->name : command->name;
    switch (family[0]) { // most commands have no secrets, and this is asked of each argument
    case 'a':
        return (!strcmp(family, "auth") && i >= 1) ||
               (!strcmp(family, "acl") && in_acl(command, i));
    case 'c':
        return !strcmp(family, "config") && in_config(services, core, command, argv, i);
    case 'h':
        return !strcmp(family, "hello") && behind(argv, argc, 2, "auth", 2, i);
    case 'm':
        return !strcmp(family, "migrate") &&
               (behind(argv, argc, 6, "auth", 1, i) || behind(argv, argc, 6, "auth2", 2, i));
    default:
        return false;
    }
}

// --- quoting -----------------------------------------------------------------------------------

// The letter behind the backslash; 0: there is none.
static uint8_t letter_of(uint8_t byte)
{
    switch (byte) {
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    case '\a':
        return 'a';
    case '\b':
        return 'b';
    case '"':
    case '\\':
        return byte;
    default:
        return 0;
    }
}

static bool plain(uint8_t byte)
{
    return byte >= ' ' && byte <= '~' && byte != '"' && byte != '\\';
}

void shown_quoted(struct out *o, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    out_write(o, "\"", 1);
    for (size_t i = 0; i < len;) {
        size_t run = i;
        while (run < len && plain(bytes[run]))
            run++;
        out_write(o, bytes + i, run - i);
        if ((i = run) == len)
            break;
        uint8_t byte = bytes[i++], letter = letter_of(byte);
        if (letter)
            out_write(o, (const uint8_t[]){'\\', letter}, 2);
        else
            out_write(o, (const char[]){'\\', 'x', digits[byte >> 4], digits[byte & 15]}, 4);
    }
    out_write(o, "\"", 1);
}
