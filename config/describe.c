// Prints pollux.conf(5) from the table of options. Run while building; not installed.
#include "config/config.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

// Text as roff takes it: `words` between backticks in bold.
static void print_text(const char *text)
{
    bool bold = false;
    if (*text == '.' || *text == '\'')
        fputs("\\&", stdout);
    for (const char *p = text; *p; p++) {
        if (*p == '`') {
            bold = !bold;
            fputs(bold ? "\\fB" : "\\fR", stdout);
        } else if (*p == '-') {
            fputs("\\-", stdout);
        } else if (*p == '\\') {
            fputs("\\e", stdout);
        } else if (!strncmp(p, "…", strlen("…"))) {
            fputs("...", stdout);
            p += strlen("…") - 1;
        } else {
            putchar(*p);
        }
    }
}

static void print_words(const struct config_option *o)
{
    for (unsigned i = 0; o->words[i]; i++) {
        fputs(i ? " | " : " ", stdout);
        print_text(o->words[i]);
    }
}

static void print_value(const struct config_option *o)
{
    switch (o->type) {
    case CONFIG_BOOL:
        fputs(" yes | no", stdout);
        break;
    case CONFIG_INTEGER:
        fputs(" \\fInumber\\fR", stdout);
        break;
    case CONFIG_MEMORY:
        fputs(" \\fIbytes\\fR", stdout);
        break;
    case CONFIG_PERCENT_OR_MEMORY:
        fputs(" \\fIbytes\\fR | \\fInumber\\fR%", stdout);
        break;
    case CONFIG_OCTAL:
        fputs(" \\fIoctal\\fR", stdout);
        break;
    case CONFIG_STRING:
        fputs(" \\fItext\\fR", stdout);
        break;
    case CONFIG_ENUM:
        print_words(o);
        break;
    case CONFIG_LIST:
        if (o->words)
            print_words(o);
        fputs(o->words ? " ..." : " \\fIword\\fR ...", stdout);
        break;
    case CONFIG_MULTI:
        fputs(" \\fIword\\fR ...", stdout);
        break;
    }
}

static bool has_range(const struct config_option *o)
{
    return (o->type == CONFIG_INTEGER || o->type == CONFIG_MEMORY) &&
           !(o->min <= 0 && o->max >= INT_MAX);
}

static void print_option(const struct config_option *o)
{
    printf(".TP\n.B ");
    print_text(o->name);
    print_value(o);
    putchar('\n');
    print_text(o->help);
    putchar('\n');
    if (o->alias) {
        fputs("Also written \\fB", stdout);
        print_text(o->alias);
        puts("\\fR.");
    }
    if (has_range(o) && o->max < INT_MAX)
        printf("From %" PRId64 " to %" PRId64 ".\n", o->min, o->max);
    else if (has_range(o))
        printf("At least %" PRId64 ".\n", o->min);
    if (*o->initial) {
        fputs("Default: ", stdout);
        print_text(o->initial);
        puts(".");
    }
    if (o->type == CONFIG_MULTI)
        puts("May stand several times.");
    if (o->flags & CONFIG_PROTECTED)
        puts("Changes at run time only if \\fBenable\\-protected\\-configs\\fR allows.");
    else if (o->flags & CONFIG_RUNTIME)
        puts("Changes at run time.");
    if (o->flags & CONFIG_OURS)
        puts("Not known to Redis.");
    if (o->flags & CONFIG_LATER)
        puts("Accepted and kept; what uses it is not built yet.");
}

static const char head[] =
    ".TH POLLUX.CONF 5 \"\" \"pollux " POLLUX_VERSION "\" \"Pollux\"\n"
    ".SH NAME\n"
    "pollux.conf \\- configuration of pollux\\-server\n"
    ".SH SYNOPSIS\n"
    ".B pollux\\-server /etc/pollux/pollux.conf\n"
    ".SH DESCRIPTION\n"
    "The syntax is that of redis.conf, and every option of Redis 7.0 is known, so that such a file "
    "can be taken over as it is. What has no meaning here is accepted and says so below.\n"
    ".PP\n"
    "A line is the name of an option, in either case, and its values, with blanks between. A line "
    "whose first character is # is a comment; there are none behind values. A value with blanks "
    "stands in quotes: in \"double\" ones \\en \\er \\et \\eb \\ea and \\exHH (two hexadecimal "
    "digits) are bytes, and a backslash takes any other character literally; in 'single' ones "
    "only \\e' is special. If an option stands twice, the last line counts, but for those that add "
    "up and say so.\n"
    ".PP\n"
    "Bytes are written as a number, or with a unit: k, m, g are powers of 1000; kb, mb, gb powers "
    "of 1024.\n"
    ".PP\n"
    "On the command line the same options are written \\fB\\-\\-name value\\fR; they come after "
    "the file. While the server runs, \\fBCONFIG SET\\fR (or \\fBpolluxctl config set\\fR) changes "
    "the options that are marked so, and \\fBCONFIG REWRITE\\fR writes them back to the file, "
    "keeping its comments and order.\n";

static const char tail[] = ".SH FILES\n"
                           ".TP\n"
                           ".I /etc/pollux/pollux.conf\n"
                           "Where the systemd units look for it.\n"
                           ".SH SEE ALSO\n"
                           ".BR pollux\\-server (1),\n"
                           ".BR polluxctl (1)\n";

int main(void)
{
    unsigned n;
    const struct config_option *options = config_options(&n);
    const char *topic = "";
    fputs(head, stdout);
    for (unsigned i = 0; i < n; i++) {
        if (strcmp(topic, options[i].topic)) {
            topic = options[i].topic;
            fputs(".SH ", stdout);
            for (const char *p = topic; *p; p++)
                putchar(*p >= 'a' && *p <= 'z' ? *p - ('a' - 'A') : *p);
            putchar('\n');
        }
        if (!(options[i].flags & CONFIG_HIDDEN))
            print_option(&options[i]);
    }
    fputs(tail, stdout);
    return 0;
}
