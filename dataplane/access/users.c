// Sets of users, and files of them.
#include <mimalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/access/internal.h"

static struct access_users *set_new(unsigned n)
{
    struct access_users *s = mi_zalloc(sizeof(*s) + n * sizeof(s->at[0]));
    if (s)
        atomic_init(&s->references, 1);
    return s;
}

const struct access_users *access_users_hold(const struct access_users *s)
{
    atomic_fetch_add_explicit(&((struct access_users *)(uintptr_t)s)->references, 1,
                              memory_order_relaxed);
    return s;
}

void access_users_drop(const struct access_users *held)
{
    struct access_users *s = (struct access_users *)(uintptr_t)held;
    if (!s || atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned i = 0; i < s->n; i++)
        access_user_drop(s->at[i]);
    mi_free(s);
}

static size_t texts_memory(const struct texts *t)
{
    size_t n = t->room * sizeof(*t->at);
    for (unsigned i = 0; i < t->n; i++)
        n += t->at[i].len + 1;
    return n;
}

size_t access_users_memory(const struct access_users *s)
{
    size_t n = sizeof(*s) + s->n * sizeof(s->at[0]);
    for (unsigned i = 0; i < s->n; i++) {
        const struct access_user *u = s->at[i];
        n += sizeof(*u) + u->name_len + texts_memory(&u->passwords);
        for (unsigned k = 0; k < u->n_selectors; k++) {
            const struct selector *x = u->selectors[k];
            n += sizeof(*x) + sizeof(x) + texts_memory(&x->keys) + texts_memory(&x->channels) +
                 texts_memory(&x->first);
        }
    }
    return n;
}

static int compare(const struct access_user *u, const char *name, size_t len)
{
    int order = memcmp(u->name, name, u->name_len < len ? u->name_len : len);
    return order ? order : (u->name_len > len) - (u->name_len < len);
}

// Where the name stands, or would.
static unsigned place_of(const struct access_users *s, const char *name, size_t len, bool *there)
{
    unsigned low = 0, high = s->n;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (compare(s->at[middle], name, len) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *there = low < s->n && compare(s->at[low], name, len) == 0;
    return low;
}

const struct access_user *access_users_find(const struct access_users *s, const char *name,
                                            size_t len)
{
    bool there;
    unsigned i = place_of(s, name, len, &there);
    return there ? s->at[i] : NULL;
}

const struct access_user *access_users_default(const struct access_users *s)
{
    return access_users_find(s, ACCESS_DEFAULT_USER, strlen(ACCESS_DEFAULT_USER));
}

struct access_users *access_users_new(void)
{
    struct access_users *s = set_new(1);
    struct access_user *u = s ? access_user_new_default() : NULL;
    if (!u) {
        mi_free(s);
        return NULL;
    }
    s->at[s->n++] = u;
    return s;
}

// The users of `s` but for those at [from, to), and `u` in their place unless it is NULL.
static struct access_users *set_changed(const struct access_users *s, unsigned from, unsigned to,
                                        const struct access_user *u)
{
    struct access_users *made = set_new(s->n + 1);
    if (!made) {
        access_user_drop(u);
        return NULL;
    }
    for (unsigned i = 0; i < from; i++)
        made->at[made->n++] = access_user_hold(s->at[i]);
    if (u)
        made->at[made->n++] = u;
    for (unsigned i = to; i < s->n; i++)
        made->at[made->n++] = access_user_hold(s->at[i]);
    return made;
}

struct access_users *access_users_with(const struct access_users *s, struct access_user *u)
{
    bool there;
    unsigned i = place_of(s, u->name, u->name_len, &there);
    return set_changed(s, i, i + there, u);
}

struct access_users *access_users_without(const struct access_users *s, const char *name,
                                          size_t len)
{
    bool there;
    unsigned i = place_of(s, name, len, &there);
    return set_changed(s, i, i + there, NULL);
}

// --- files ---------------------------------------------------------------------------------------

static void put(struct out *o, const char *text)
{
    out_write(o, text, strlen(text));
}

void access_users_save(const struct access_users *s, const struct access_table *t, struct out *o)
{
    for (unsigned i = 0; i < s->n; i++) {
        put(o, "user ");
        out_write(o, s->at[i]->name, s->at[i]->name_len);
        put(o, " ");
        access_describe(s->at[i], t, o);
        put(o, "\n");
    }
}

struct access_loading {
    const struct access_table *t;
    const char *file;
    bool all_channels, reset;
    struct out *errors;
    bool failed;
    struct access_users *users; // so far, in no order; the first is the default user
    unsigned room;
    unsigned line;
    // Errors name the place and the user; NULL: file and line.
    const char *place;
    struct access_rule name;
};

static struct out *tell_after(struct access_loading *l, const char *mark)
{
    char number[16];
    l->failed = true;
    if (l->place) {
        put(l->errors, l->place);
        put(l->errors, ": user '");
        out_write(l->errors, l->name.ptr, l->name.len);
        put(l->errors, "': ");
        return l->errors;
    }
    snprintf(number, sizeof(number), ":%u%s", l->line, mark);
    put(l->errors, l->file);
    put(l->errors, number);
    return l->errors;
}

static struct out *tell(struct access_loading *l)
{
    return tell_after(l, ": ");
}

static void trim(struct access_rule *r, const char *blanks)
{
    while (r->len && memchr(blanks, r->ptr[0], strlen(blanks)))
        r->ptr++, r->len--;
    while (r->len && memchr(blanks, r->ptr[r->len - 1], strlen(blanks)))
        r->len--;
}

// Words stand between single spaces, so that two in a row have an empty one between them. NULL:
// memory is short.
static struct access_rule *split(struct access_rule line, int *n)
{
    int words = 1;
    for (size_t i = 0; i < line.len; i++)
        words += line.ptr[i] == ' ';
    struct access_rule *w = mi_mallocn((size_t)words, sizeof(*w));
    *n = 0;
    for (size_t from = 0; w && *n < words;) {
        const char *end = memchr(line.ptr + from, ' ', line.len - from);
        size_t to = end ? (size_t)(end - line.ptr) : line.len;
        w[(*n)++] = (struct access_rule){line.ptr + from, to - from};
        from = to + 1;
    }
    return w;
}

// The user that a line is about. The default user is there already, until a line names it.
static struct access_user *user_of_line(struct access_loading *l, struct access_rule name)
{
    const char *told = NULL;
    if (!access_valid_name(name.ptr, name.len)) {
        struct out *o = tell(l);
        put(o, "username '");
        out_write(o, name.ptr, name.len);
        put(o, "' contains invalid characters. ");
        return NULL;
    }
    for (unsigned i = 1; !told && i < l->users->n; i++)
        if (compare(l->users->at[i], name.ptr, name.len) == 0)
            told = l->users->at[i]->name;
    if (told && l->place) {
        put(tell(l), "Duplicate user found. A user can only be defined once in config files. ");
        return NULL;
    }
    if (told) {
        char text[48];
        snprintf(text, sizeof(text), "' found on line %u. ", l->line);
        put(l->errors, "WARNING: Duplicate user '");
        put(l->errors, told);
        put(l->errors, text);
        l->failed = true;
        return NULL;
    }
    struct access_user *u = access_user_new(name.ptr, name.len, l->all_channels);
    if (u && l->reset && access_user_is_default(u))
        (void)access_user_apply(u, l->t, (struct access_rule){"reset", 5}, l->all_channels);
    if (u && l->users->n == l->room) {
        struct access_users *grown =
            mi_realloc(l->users, sizeof(*grown) + 2 * l->room * sizeof(grown->at[0]));
        if (grown) {
            l->users = grown;
            l->room *= 2;
        } else {
            access_user_drop(u);
            u = NULL;
        }
    }
    if (!u) {
        put(tell(l), "out of memory. ");
        return NULL;
    }
    l->users->at[l->users->n++] = u;
    return u;
}

static void apply_line(struct access_loading *l, struct access_user *u,
                       const struct access_rule *words, int n)
{
    char *joined;
    int open;
    struct access_rule *rules = mi_mallocn((size_t)n + 1, sizeof(*rules));
    int n_rules = rules ? access_join_rules(words, n, rules, &joined, &open) : -2;
    if (n_rules < 0) {
        put(tell(l),
            n_rules == -1 ? l->place ? "Unmatched parenthesis in selector definition. "
                                     : "Unmatched parenthesis in selector definition." // Redis's
                          : "out of memory. ");
        mi_free(rules);
        return;
    }
    bool told = false;
    for (int i = 0; i < n_rules; i++) {
        trim(&rules[i], "\t\r\n");
        enum access_error error = access_user_apply(u, l->t, rules[i], l->all_channels);
        if (error == ACCESS_OK || (told && error != ACCESS_ERROR_UNKNOWN))
            continue;
        struct out *o = tell(l);
        if (error == ACCESS_ERROR_UNKNOWN) { // which is no secret
            put(o, "Error in applying operation '");
            out_write(o, rules[i].ptr, rules[i].len);
            put(o, "': ");
        } else {
            told = true; // what follows may only be wrong because this is
        }
        put(o, access_error_text(error));
        put(o, ". ");
    }
    mi_free(joined);
    mi_free(rules);
}

static int by_name(const void *a, const void *b)
{
    const struct access_user *const *x = a, *const *y = b;
    return compare(*x, (*y)->name, (*y)->name_len);
}

struct access_loading *access_loading_new(const struct access_table *t, const char *file,
                                          bool all_channels, const struct access_user *everybody,
                                          struct out *errors)
{
    enum { ROOM_FIRST = 16 };
    struct access_loading *l = mi_malloc(sizeof(*l));
    struct access_users *users = set_new(ROOM_FIRST);
    const struct access_user *given =
        everybody ? access_user_hold(everybody) : access_user_new_default();
    if (!l || !users || !given) {
        access_user_drop(given);
        mi_free(users);
        mi_free(l);
        put(errors, "out of memory");
        return NULL;
    }
    users->at[users->n++] = given;
    *l = (struct access_loading){.t = t,
                                 .file = file,
                                 .all_channels = all_channels,
                                 .reset = everybody != NULL,
                                 .errors = errors,
                                 .users = users,
                                 .room = ROOM_FIRST};
    return l;
}

void access_loading_add(struct access_loading *l, const char *place, unsigned line,
                        const struct access_rule *words, int n)
{
    l->line = line;
    l->place = place;
    l->name = words[0];
    struct access_user *u = user_of_line(l, words[0]);
    if (u)
        apply_line(l, u, words + 1, n - 1);
}

struct access_users *access_loading_end(struct access_loading *l, const struct access_users *before)
{
    struct access_users *users = l->users;
    bool failed = l->failed;
    mi_free(l);
    if (failed) {
        access_users_drop(users);
        return NULL;
    }
    // The one that a line gave takes the place of the one that was there.
    for (unsigned i = 1; i < users->n; i++) {
        if (!access_user_is_default(users->at[i]))
            continue;
        access_user_drop(users->at[0]);
        users->at[0] = users->at[i];
        users->at[i] = users->at[--users->n];
        break;
    }
    struct access_user *everybody = (struct access_user *)(uintptr_t)users->at[0];
    if (before && everybody->identity != access_users_default(before)->identity)
        everybody->identity = access_users_default(before)->identity; // it is seen by nobody yet
    qsort(users->at, users->n, sizeof(users->at[0]), by_name);
    return users;
}

static void load_line(struct access_loading *l, unsigned number, struct access_rule line)
{
    trim(&line, " \t\r\n");
    if (!line.len)
        return;
    int n;
    struct access_rule *words = split(line, &n);
    l->line = number;
    if (!words)
        put(tell(l), "out of memory. ");
    else if (n < 2 || words[0].len != 4 || memcmp(words[0].ptr, "user", 4) != 0)
        put(tell_after(l, " "), "should start with user keyword followed by the username. ");
    else
        access_loading_add(l, NULL, number, words + 1, n - 1);
    mi_free(words);
}

struct access_users *access_users_load(const struct access_users *before,
                                       const struct access_table *t, const char *text, size_t len,
                                       const char *file, bool all_channels, struct out *errors)
{
    struct access_loading *l = access_loading_new(t, file, all_channels, NULL, errors);
    unsigned number = 0;
    if (!l)
        return NULL;
    for (size_t from = 0; from <= len;) {
        const char *end = memchr(text + from, '\n', len - from);
        size_t to = end ? (size_t)(end - text) : len;
        load_line(l, ++number, (struct access_rule){text + from, to - from});
        from = to + 1;
    }
    struct access_users *users = access_loading_end(l, before);
    if (!users)
        put(errors, "WARNING: ACL errors detected, no change to the previously active ACL rules "
                    "was performed");
    return users;
}
