// A user as rules that give it again, in the form in which Redis writes them.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/words.h"
#include "dataplane/access/internal.h"

static void put(struct out *o, const char *text)
{
    out_write(o, text, strlen(text));
}

// A rule whose second part is a text of the user's. Within "(…)" words may be quoted, and those
// that would be taken for a quote or for the end are.
static void put_rule(struct out *o, bool inside, const char *head, const struct text *text)
{
    bool odd =
        inside && (strpbrk(text->ptr, "\"'") || (text->len && text->ptr[text->len - 1] == ')'));
    char *whole = odd ? malloc(strlen(head) + text->len + 1) : NULL;
    char *quoted = NULL;
    if (whole) {
        strcpy(whole, head);
        strcat(whole, text->ptr);
        quoted = words_quote(whole, true);
        put(o, quoted);
    } else {
        put(o, head);
        out_write(o, text->ptr, text->len);
    }
    free(quoted);
    free(whole);
}

static void put_word(struct out *o, const char *sign, const char *name)
{
    put(o, " ");
    put(o, sign);
    put(o, name);
}

// --- commands ------------------------------------------------------------------------------------

// How many commands of the category stand as `allow` says, and how many do not.
static void count_category(const struct selector *s, const struct access_table *t,
                           unsigned category, bool allow, unsigned *same, unsigned *other)
{
    *same = *other = 0;
    for (unsigned i = 0; i < t->n_commands; i++) {
        if (!(t->commands[i].categories & (1u << category)))
            continue;
        if (selector_bit(s, i) == allow)
            ++*same;
        else
            ++*other;
    }
}

// The category that is nearest to what is left to say, of those that say more right than wrong.
static int best_category(const struct selector *left, const struct access_table *t, bool allow,
                         uint32_t said)
{
    int best = -1;
    unsigned best_same = 0, best_other = 0;
    for (unsigned i = 0; i < t->n_categories; i++) {
        unsigned same, other;
        if (said & (1u << i))
            continue;
        count_category(left, t, i, allow, &same, &other);
        if (same > other &&
            (best < 0 || other < best_other || (other == best_other && same > best_same))) {
            best = (int)i;
            best_same = same;
            best_other = other;
        }
    }
    return best;
}

void access_describe_commands(const struct access_user *u, unsigned selector,
                              const struct access_table *t, struct out *o)
{
    const struct selector *s = u->selectors[selector];
    bool all = selector_bit(s, ACCESS_COMMANDS_MAX); // it may run commands yet to come
    const char *sign = all ? "-" : "+";
    // `said` is what the rules written so far give, `left` what they leave to say.
    struct selector said = {0}, left = {0};
    selector_set_all(&said, all);
    memcpy(left.allowed, s->allowed, sizeof(left.allowed));
    uint32_t categories = 0;
    put(o, all ? "+@all" : "-@all");
    for (int c; (c = best_category(&left, t, !all, categories)) >= 0;) {
        selector_set_category(&said, t, (unsigned)c, !all);
        selector_set_category(&left, t, (unsigned)c, all);
        categories |= 1u << c;
        put_word(o, sign, "@");
        put(o, t->categories[c]);
    }
    for (unsigned i = 0; i < t->n_commands; i++) {
        bool allowed = selector_bit(s, i);
        if (allowed != selector_bit(&said, i)) {
            put_word(o, allowed ? "+" : "-", t->commands[i].name);
            selector_set_command(&said, t, i, allowed);
        }
        for (unsigned f = 0; !allowed && f < s->first.n; f++) {
            if (s->first.at[f].mark != i)
                continue;
            char head[128];
            snprintf(head, sizeof(head), "+%s|", t->commands[i].name);
            put(o, " ");
            put_rule(o, selector > 0, head, &s->first.at[f]);
        }
    }
}

// --- keys and channels ---------------------------------------------------------------------------

static void describe_keys(const struct selector *s, bool inside, struct out *o)
{
    if (s->all_keys)
        put(o, "~*");
    for (unsigned i = 0; i < s->keys.n; i++) {
        const struct text *key = &s->keys.at[i];
        // A bare ~* would be read as all keys, behind which nothing may stand.
        bool star = key->len == 1 && *key->ptr == '*';
        if (i)
            put(o, " ");
        put_rule(o, inside,
                 key->mark == ACCESS_READ    ? "%R~"
                 : key->mark == ACCESS_WRITE ? "%W~"
                 : star                      ? "%RW~"
                                             : "~",
                 key);
    }
}

static void describe_channels(const struct selector *s, bool inside, struct out *o)
{
    if (s->all_channels)
        put(o, "&*");
    for (unsigned i = 0; i < s->channels.n; i++) {
        if (i)
            put(o, " ");
        put_rule(o, inside, "&", &s->channels.at[i]);
    }
}

void access_describe_keys(const struct access_user *u, unsigned selector, struct out *o)
{
    describe_keys(u->selectors[selector], false, o);
}

void access_describe_channels(const struct access_user *u, unsigned selector, struct out *o)
{
    describe_channels(u->selectors[selector], false, o);
}

static void describe_selector(const struct access_user *u, unsigned selector,
                              const struct access_table *t, struct out *o)
{
    const struct selector *s = u->selectors[selector];
    if (s->all_keys || s->keys.n) {
        describe_keys(s, selector > 0, o);
        put(o, " ");
    }
    if (!s->all_channels)
        put(o, "resetchannels ");
    if (s->all_channels || s->channels.n) {
        describe_channels(s, selector > 0, o);
        put(o, " ");
    }
    access_describe_commands(u, selector, t, o);
}

// --- users ---------------------------------------------------------------------------------------

unsigned access_user_flags(const struct access_user *u, const char *names[4])
{
    unsigned n = 0;
    names[n++] = u->enabled ? "on" : "off";
    if (u->nopass)
        names[n++] = "nopass";
    if (u->skip_sanitize)
        names[n++] = "skip-sanitize-payload";
    if (u->sanitize)
        names[n++] = "sanitize-payload";
    return n;
}

unsigned access_user_passwords(const struct access_user *u)
{
    return u->passwords.n;
}

const char *access_user_password(const struct access_user *u, unsigned i)
{
    return u->passwords.at[i].ptr;
}

unsigned access_user_selectors(const struct access_user *u)
{
    return u->n_selectors;
}

void access_describe(const struct access_user *u, const struct access_table *t, struct out *o)
{
    const char *flags[4];
    unsigned n = access_user_flags(u, flags);
    for (unsigned i = 0; i < n; i++) {
        put(o, flags[i]);
        put(o, " ");
    }
    for (unsigned i = 0; i < u->passwords.n; i++) {
        put(o, "#");
        out_write(o, u->passwords.at[i].ptr, ACCESS_HASH_LEN);
        put(o, " ");
    }
    for (unsigned i = 0; i < u->n_selectors; i++) {
        put(o, i ? " (" : "");
        describe_selector(u, i, t, o);
        put(o, i ? ")" : "");
    }
}
