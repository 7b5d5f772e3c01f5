// The notation of rules: one rule changes a user, or is refused for one reason.
#include <ctype.h>
#include <mimalloc.h>
#include <string.h>
#include <strings.h>

#include "common/words.h"
#include "dataplane/access/internal.h"

const char *access_error_text(enum access_error error)
{
    static const char *const texts[] = {
        [ACCESS_OK] = "",
        [ACCESS_ERROR_UNKNOWN] = "Unknown command or category name in ACL",
        [ACCESS_ERROR_SYNTAX] = "Syntax error",
        [ACCESS_ERROR_ALL_KEYS] =
            "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does "
            "not have any effect. Try 'resetkeys' to start with an empty list of patterns",
        [ACCESS_ERROR_ALL_CHANNELS] =
            "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and "
            "does not have any effect. Try 'resetchannels' to start with an empty list of channels",
        [ACCESS_ERROR_NO_PASSWORD] =
            "The password you are trying to remove from the user does not exist",
        [ACCESS_ERROR_HASH] = "The password hash must be exactly 64 characters and contain only "
                              "lowercase hexadecimal characters",
        [ACCESS_ERROR_DUPLICATE] =
            "Duplicate user found. A user can only be defined once in config files",
        [ACCESS_ERROR_NESTED_FIRST] = "Allowing first-arg of a subcommand is not supported",
        [ACCESS_ERROR_MEMORY] = "out of memory",
    };
    return texts[error];
}

static bool has_spaces(const char *ptr, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (isspace((unsigned char)ptr[i]) || ptr[i] == '\0')
            return true;
    return false;
}

bool access_valid_name(const char *name, size_t len)
{
    return !has_spaces(name, len);
}

// --- commands ------------------------------------------------------------------------------------

void selector_set_all(struct selector *s, bool allow)
{
    memset(s->allowed, allow ? 0xff : 0, sizeof(s->allowed));
    s->all_commands = allow;
    texts_clear(&s->first);
}

static void set_bit(struct selector *s, unsigned command, bool allow)
{
    uint64_t bit = 1ull << (command % 64);
    if (allow) {
        s->allowed[command / 64] |= bit;
    } else {
        s->allowed[command / 64] &= ~bit;
        s->all_commands = false;
    }
    for (unsigned i = s->first.n; i--;)
        if (s->first.at[i].mark == command)
            texts_remove(&s->first, i);
}

void selector_set_command(struct selector *s, const struct access_table *t, unsigned command,
                          bool allow)
{
    for (unsigned i = 0; i <= t->commands[command].n_subcommands; i++)
        set_bit(s, command + i, allow);
}

void selector_set_category(struct selector *s, const struct access_table *t, unsigned category,
                           bool allow)
{
    for (unsigned i = 0; i < t->n_commands; i++)
        if (t->commands[i].categories & (1u << category))
            selector_set_command(s, t, i, allow);
}

static bool is_word(const char *rule, const char *word)
{
    return strcasecmp(rule, word) == 0;
}

static enum access_error apply_category(struct selector *s, const struct access_table *t,
                                        const char *name, bool allow)
{
    for (unsigned i = 0; i < t->n_categories; i++) {
        if (!is_word(name, t->categories[i]))
            continue;
        selector_set_category(s, t, i, allow);
        return ACCESS_OK;
    }
    return ACCESS_ERROR_UNKNOWN;
}

static enum access_error allow_first(struct selector *s, unsigned command, const char *first)
{
    for (unsigned i = 0; i < s->first.n; i++)
        if (s->first.at[i].mark == command && is_word(first, s->first.at[i].ptr))
            return ACCESS_OK;
    return texts_add(&s->first, first, strlen(first), command) ? ACCESS_OK : ACCESS_ERROR_MEMORY;
}

// "+select|0" is no command of the table: it allows SELECT with this first argument.
static enum access_error apply_command(struct selector *s, const struct access_table *t,
                                       const char *name, bool allow)
{
    const char *bar = allow ? strrchr(name, '|') : NULL;
    int command = t->find(name, strlen(name));
    if (!bar) {
        if (command < 0)
            return ACCESS_ERROR_UNKNOWN;
        selector_set_command(s, t, (unsigned)command, allow);
        return ACCESS_OK;
    }
    int head = t->find(name, (size_t)(bar - name));
    if (head < 0)
        return ACCESS_ERROR_UNKNOWN;
    if (t->commands[head].parent != head)
        return ACCESS_ERROR_NESTED_FIRST;
    // Nor may it hold what separates rules: the user could not be read back from a file.
    if (!bar[1] || has_spaces(bar + 1, strlen(bar + 1)))
        return ACCESS_ERROR_SYNTAX;
    if (!t->commands[head].n_subcommands)
        return allow_first(s, (unsigned)head, bar + 1);
    if (command < 0)
        return ACCESS_ERROR_UNKNOWN;
    selector_set_command(s, t, (unsigned)command, true);
    return ACCESS_OK;
}

// --- keys and channels ---------------------------------------------------------------------------

static enum access_error apply_keys(struct selector *s, const char *rule, size_t len)
{
    if (s->all_keys)
        return ACCESS_ERROR_ALL_KEYS;
    unsigned kinds = 0;
    size_t at = 1;
    if (*rule == '~') {
        kinds = KEY_ANY;
    } else {
        for (; at < len; at++) {
            int c = toupper((unsigned char)rule[at]);
            unsigned kind = c == 'R' ? ACCESS_READ : c == 'W' ? ACCESS_WRITE : 0;
            if (kind && !(kinds & kind)) {
                kinds |= kind;
            } else if (c == '~' && kinds) {
                at++;
                break;
            } else {
                return ACCESS_ERROR_SYNTAX;
            }
        }
    }
    if (!kinds || has_spaces(rule + at, len - at))
        return ACCESS_ERROR_SYNTAX;
    int same = texts_find(&s->keys, rule + at, len - at);
    if (same >= 0)
        s->keys.at[same].mark |= kinds;
    else if (!texts_add(&s->keys, rule + at, len - at, kinds))
        return ACCESS_ERROR_MEMORY;
    return ACCESS_OK;
}

static enum access_error apply_channel(struct selector *s, const char *rule, size_t len)
{
    if (s->all_channels)
        return ACCESS_ERROR_ALL_CHANNELS;
    if (has_spaces(rule + 1, len - 1))
        return ACCESS_ERROR_SYNTAX;
    if (texts_find(&s->channels, rule + 1, len - 1) < 0 &&
        !texts_add(&s->channels, rule + 1, len - 1, 0))
        return ACCESS_ERROR_MEMORY;
    return ACCESS_OK;
}

static void set_keys(struct selector *s, bool all)
{
    s->all_keys = all;
    texts_clear(&s->keys);
}

static void set_channels(struct selector *s, bool all)
{
    s->all_channels = all;
    texts_clear(&s->channels);
}

// `rule` ends with a NUL byte. Words end at the first one, patterns may not hold one.
static enum access_error apply_to_selector(struct selector *s, const struct access_table *t,
                                           const char *rule, size_t len)
{
    if (is_word(rule, "allkeys") || is_word(rule, "~*"))
        set_keys(s, true);
    else if (is_word(rule, "resetkeys"))
        set_keys(s, false);
    else if (is_word(rule, "allchannels") || is_word(rule, "&*"))
        set_channels(s, true);
    else if (is_word(rule, "resetchannels"))
        set_channels(s, false);
    else if (is_word(rule, "allcommands") || is_word(rule, "+@all"))
        selector_set_all(s, true);
    else if (is_word(rule, "nocommands") || is_word(rule, "-@all"))
        selector_set_all(s, false);
    else if (*rule == '~' || *rule == '%')
        return apply_keys(s, rule, len);
    else if (*rule == '&')
        return apply_channel(s, rule, len);
    else if ((*rule == '+' || *rule == '-') && rule[1] == '@')
        return apply_category(s, t, rule + 2, *rule == '+');
    else if (*rule == '+' || *rule == '-')
        return apply_command(s, t, rule + 1, *rule == '+');
    else
        return ACCESS_ERROR_SYNTAX;
    return ACCESS_OK;
}

// "(+get ~a)". Words in it may be quoted; a quote that is not closed leaves it empty.
static enum access_error add_selector(struct access_user *u, const struct access_table *t,
                                      const char *rule, size_t len, bool all_channels)
{
    struct selector *s = selector_new(all_channels);
    enum access_error error = s ? ACCESS_OK : ACCESS_ERROR_MEMORY;
    struct words w = {0};
    if (words_split_line(rule + 1, len - 2, &w) == WORDS_NUL)
        error = ACCESS_ERROR_SYNTAX; // nothing that a selector takes may hold a NUL byte
    for (unsigned i = 0; i < w.n && error == ACCESS_OK; i++)
        error = apply_to_selector(s, t, w.at[i], strlen(w.at[i]));
    words_free(&w);
    if (error == ACCESS_OK)
        return user_add_selector(u, s) ? ACCESS_OK : ACCESS_ERROR_MEMORY;
    selector_free(s);
    return error;
}

// --- users ---------------------------------------------------------------------------------------

static bool is_hash(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((text[i] < '0' || text[i] > '9') && (text[i] < 'a' || text[i] > 'f'))
            return false;
    return len == ACCESS_HASH_LEN;
}

// `>password` and `#hash` add, `<password` and `!hash` remove.
static enum access_error apply_password(struct access_user *u, const char *rule, size_t len)
{
    char hash[ACCESS_HASH_LEN];
    if (*rule == '>' || *rule == '<')
        access_hash(rule + 1, len - 1, hash);
    else if (is_hash(rule + 1, len - 1))
        memcpy(hash, rule + 1, sizeof(hash));
    else
        return ACCESS_ERROR_HASH;
    int at = texts_find(&u->passwords, hash, sizeof(hash));
    if (*rule == '<' || *rule == '!') {
        if (at < 0)
            return ACCESS_ERROR_NO_PASSWORD;
        texts_remove(&u->passwords, (unsigned)at);
        return ACCESS_OK;
    }
    if (at < 0 && !texts_add(&u->passwords, hash, sizeof(hash), 0))
        return ACCESS_ERROR_MEMORY;
    u->nopass = false;
    return ACCESS_OK;
}

static void set_nopass(struct access_user *u, bool nopass)
{
    u->nopass = nopass;
    texts_clear(&u->passwords);
}

static void set_sanitize(struct access_user *u, bool sanitize)
{
    u->sanitize = sanitize;
    u->skip_sanitize = !sanitize;
}

static void reset(struct access_user *u, bool all_channels)
{
    struct selector *root = u->selectors[0];
    set_nopass(u, false);
    set_keys(root, false);
    set_channels(root, all_channels);
    u->enabled = false;
    set_sanitize(u, true);
    user_clear_selectors(u);
    selector_set_all(root, false);
}

static enum access_error apply(struct access_user *u, const struct access_table *t,
                               const char *rule, size_t len, bool all_channels)
{
    if (!len)
        return ACCESS_OK;
    if (is_word(rule, "on"))
        u->enabled = true;
    else if (is_word(rule, "off"))
        u->enabled = false;
    else if (is_word(rule, "nopass"))
        set_nopass(u, true);
    else if (is_word(rule, "resetpass"))
        set_nopass(u, false);
    else if (is_word(rule, "skip-sanitize-payload"))
        set_sanitize(u, false);
    else if (is_word(rule, "sanitize-payload"))
        set_sanitize(u, true);
    else if (is_word(rule, "clearselectors"))
        user_clear_selectors(u);
    else if (is_word(rule, "reset"))
        reset(u, all_channels);
    else if (strchr("><#!", *rule) && *rule)
        return apply_password(u, rule, len);
    else if (*rule == '(' && rule[len - 1] == ')')
        return add_selector(u, t, rule, len, all_channels);
    else
        return apply_to_selector(u->selectors[0], t, rule, len);
    return ACCESS_OK;
}

static bool is_unlimited(const struct access_user *u)
{
    for (unsigned i = 0; i < u->n_selectors; i++) {
        const struct selector *s = u->selectors[i];
        if (s->all_commands && s->all_keys && s->all_channels)
            return true;
    }
    return false;
}

enum access_error access_user_apply(struct access_user *u, const struct access_table *t,
                                    struct access_rule rule, bool all_channels)
{
    char *text = mi_malloc(rule.len + 1);
    if (!text)
        return ACCESS_ERROR_MEMORY;
    memcpy(text, rule.ptr, rule.len);
    text[rule.len] = '\0';
    enum access_error error = apply(u, t, text, rule.len, all_channels);
    mi_free(text);
    u->unlimited = is_unlimited(u);
    return error;
}

int access_join_rules(const struct access_rule *words, int n, struct access_rule *rules,
                      char **joined, int *open)
{
    size_t bytes = 1;
    for (int i = 0; i < n; i++)
        bytes += words[i].len + 1;
    char *to = *joined = mi_malloc(bytes);
    int made = 0, opened = -1;
    if (!to)
        return -2;
    for (int i = 0; i < n; i++) {
        const struct access_rule *w = &words[i];
        bool closes = w->len && w->ptr[w->len - 1] == ')';
        if (opened < 0) {
            rules[made] = (struct access_rule){to, 0};
            if (w->len && w->ptr[0] == '(' && !closes)
                opened = i;
        } else {
            *to++ = ' ';
            if (closes)
                opened = -1;
        }
        memcpy(to, w->ptr, w->len);
        to += w->len;
        rules[made].len = (size_t)(to - rules[made].ptr);
        made += opened < 0;
    }
    if (opened < 0)
        return made;
    *open = opened;
    mi_free(*joined);
    *joined = NULL;
    return -1;
}
