// ACL: users are made, changed, shown, kept in a file. A change is published at home and adopted by
// every core before it is answered.
#include "dataplane/commands/acl.h"

#include <mimalloc.h>
#include <stdio.h>
#include <string.h>

#include "common/block.h"
#include "common/outbuf.h"
#include "dataplane/commands/permission.h"
#include "dataplane/resp/client.h"

void acl_adopt_part(struct request *r)
{
    r->services->access_adopt(r->core);
}

// --- SETUSER -------------------------------------------------------------------------------------

// An error that shows what the client sent, whole, as far as a line can.
static void error_about(struct request *r, const char *before, const struct access_rule *what,
                        const char *after)
{
    size_t len = strnlen(what->ptr, what->len);
    size_t size = strlen(before) + len + strlen(after) + 1;
    char *text = mi_malloc(size);
    if (!text) {
        request_error(r, ERR_OOM);
        return;
    }
    snprintf(text, size, "%s%.*s%s", before, (int)len, what->ptr, after);
    for (char *p = text; *p; p++)
        if (*p == '\r' || *p == '\n')
            *p = ' ';
    request_error(r, text);
    mi_free(text);
}

// Applies all rules or none. Answers and returns false when one is wrong.
static bool apply_rules(struct request *r, struct access_user *u, const struct access_rule *rules,
                        int n)
{
    bool all_channels = r->services->access_all_channels(r->core);
    for (int i = 0; i < n; i++) {
        enum access_error error = access_user_apply(u, permission_table(), rules[i], all_channels);
        if (error == ACCESS_OK)
            continue;
        char after[256];
        snprintf(after, sizeof(after), "': %s", access_error_text(error));
        error_about(r, "ERR Error in ACL SETUSER modifier '", &rules[i], after);
        return false;
    }
    return true;
}

// The user as it will be; NULL: it was answered.
static struct access_user *changed_user(struct request *r, const struct access_users *users,
                                        const struct access_rule *rules, int n)
{
    const char *name = (const char *)r->argv[2].ptr;
    size_t len = r->argv[2].len;
    const struct access_user *before = access_users_find(users, name, len);
    struct access_user *u =
        before ? access_user_copy(before)
               : access_user_new(name, len, r->services->access_all_channels(r->core));
    if (!u)
        request_error(r, ERR_OOM);
    else if (apply_rules(r, u, rules, n))
        return u;
    access_user_drop(u);
    return NULL;
}

static bool set_user(struct request *r, const struct access_rule *rules, int n)
{
    for (;;) { // until nobody else was faster
        const struct access_users *users = r->services->access_newest(r->core);
        struct access_user *u = changed_user(r, users, rules, n);
        struct access_users *changed = u ? access_users_with(users, u) : NULL;
        bool published = changed && r->services->access_publish(r->core, users, changed);
        access_users_drop(users);
        if (u && !changed)
            request_error(r, ERR_OOM);
        if (!changed || published)
            return published;
    }
}

bool acl_setuser_start(struct request *r)
{
    if (!access_valid_name((const char *)r->argv[2].ptr, r->argv[2].len)) {
        request_error(r, "ERR Usernames can't contain spaces or null characters");
        return false;
    }
    int n = r->argc - 3, open = 0;
    struct access_rule *words = mi_mallocn(2 * (size_t)n + 1, sizeof(*words));
    struct access_rule *rules = words + n;
    char *joined = NULL;
    for (int i = 0; words && i < n; i++)
        words[i] = (struct access_rule){(const char *)r->argv[3 + i].ptr, r->argv[3 + i].len};
    int n_rules = words ? access_join_rules(words, n, rules, &joined, &open) : -2;
    bool done = false;
    if (n_rules == -1)
        error_about(r, "ERR Unmatched parenthesis in acl selector starting at '", &words[open],
                    "'.");
    else if (n_rules < 0)
        request_error(r, ERR_OOM);
    else
        done = set_user(r, rules, n_rules);
    mi_free(joined);
    mi_free(words);
    return done;
}

void acl_setuser_command(struct request *r)
{
    reply_status(r->out, "OK");
}

// --- DELUSER -------------------------------------------------------------------------------------

// From `start` to the part at home, which follows at once.
static _Thread_local int64_t deleted;

static bool delete_users(struct request *r)
{
    for (;;) {
        const struct access_users *users = r->services->access_newest(r->core);
        const struct access_users *left = access_users_hold(users);
        deleted = 0;
        for (int i = 2; left && i < r->argc; i++) {
            const char *name = (const char *)r->argv[i].ptr;
            size_t len = r->argv[i].len;
            if (!access_users_find(left, name, len))
                continue;
            const struct access_users *fewer = access_users_without(left, name, len);
            access_users_drop(left);
            left = fewer;
            deleted++;
        }
        bool published = left && r->services->access_publish(
                                     r->core, users, (struct access_users *)(uintptr_t)left);
        access_users_drop(users);
        if (!left)
            request_error(r, ERR_OOM);
        if (!left || published)
            return published;
    }
}

bool acl_deluser_start(struct request *r)
{
    for (int i = 2; i < r->argc; i++) {
        if (r->argv[i].len != strlen(ACCESS_DEFAULT_USER) ||
            memcmp(r->argv[i].ptr, ACCESS_DEFAULT_USER, r->argv[i].len) != 0)
            continue;
        request_error(r, "ERR The 'default' user cannot be removed");
        return false;
    }
    return delete_users(r);
}

void acl_deluser_part(struct request *r)
{
    acl_adopt_part(r);
    if (r->client) // at home
        out_write(r->out, &deleted, sizeof(deleted));
}

void acl_deluser_command(struct request *r)
{
    int64_t n = 0;
    for (unsigned i = 0; i < r->n_parts; i++)
        if (r->parts[i].len == sizeof(n))
            memcpy(&n, r->parts[i].ptr, sizeof(n));
    reply_integer(r->out, n);
}

// --- showing -------------------------------------------------------------------------------------

// What was collected, as a bulk string.
static void reply_collected(struct request *r, struct outbuf *text)
{
    struct block *all = outbuf_block(text);
    reply_bulk(r->out, all ? all->data : (const uint8_t *)"", all ? all->len : 0);
    block_release(all);
    outbuf_clear(text);
}

typedef void describe_fn(const struct access_user *u, unsigned selector, struct out *o);

static void describe_commands(const struct access_user *u, unsigned selector, struct out *o)
{
    access_describe_commands(u, selector, permission_table(), o);
}

static void reply_selector(struct request *r, const struct access_user *u, unsigned selector)
{
    static const struct {
        const char *name;
        describe_fn *describe;
    } parts[] = {{"commands", describe_commands},
                 {"keys", access_describe_keys},
                 {"channels", access_describe_channels}};
    for (unsigned i = 0; i < 3; i++) {
        struct outbuf text;
        outbuf_init(&text);
        parts[i].describe(u, selector, &text.out);
        reply_bulk_string(r->out, parts[i].name);
        reply_collected(r, &text);
    }
}

void acl_getuser_command(struct request *r)
{
    const struct access_user *u = access_users_find(r->services->access_users(r->core),
                                                    (const char *)r->argv[2].ptr, r->argv[2].len);
    if (!u) {
        reply_null(r->out, r->session->resp);
        return;
    }
    const char *flags[4];
    unsigned n = access_user_flags(u, flags);
    reply_map(r->out, r->session->resp, 6);
    reply_bulk_string(r->out, "flags");
    reply_set(r->out, r->session->resp, n);
    for (unsigned i = 0; i < n; i++)
        reply_bulk_string(r->out, flags[i]);
    reply_bulk_string(r->out, "passwords");
    reply_array(r->out, access_user_passwords(u));
    for (unsigned i = 0; i < access_user_passwords(u); i++)
        reply_bulk(r->out, access_user_password(u, i), ACCESS_HASH_LEN);
    reply_selector(r, u, 0);
    reply_bulk_string(r->out, "selectors");
    reply_array(r->out, access_user_selectors(u) - 1);
    for (unsigned i = 1; i < access_user_selectors(u); i++) {
        reply_map(r->out, r->session->resp, 3);
        reply_selector(r, u, i);
    }
}

void acl_list_command(struct request *r)
{
    const struct access_users *users = r->services->access_users(r->core);
    reply_array(r->out, users->n);
    for (unsigned i = 0; i < users->n; i++) {
        struct outbuf text;
        size_t len;
        const char *name = access_user_name(users->at[i], &len);
        outbuf_init(&text);
        out_write(&text.out, "user ", 5);
        out_write(&text.out, name, len);
        out_write(&text.out, " ", 1);
        access_describe(users->at[i], permission_table(), &text.out);
        reply_collected(r, &text);
    }
}

void acl_users_command(struct request *r)
{
    const struct access_users *users = r->services->access_users(r->core);
    reply_array(r->out, users->n);
    for (unsigned i = 0; i < users->n; i++) {
        size_t len;
        const char *name = access_user_name(users->at[i], &len);
        reply_bulk(r->out, name, len);
    }
}

void acl_whoami_command(struct request *r)
{
    const struct access_user *u = r->client ? r->client->user : NULL;
    size_t len = strlen(ACCESS_DEFAULT_USER);
    const char *name = u ? access_user_name(u, &len) : ACCESS_DEFAULT_USER;
    reply_bulk(r->out, name, len);
}

// --- the file ------------------------------------------------------------------------------------

// On the service thread.
static void with_file(struct request *r, bool (*work)(struct core *core, struct out *errors))
{
    struct outbuf errors;
    outbuf_init(&errors);
    out_write(&errors.out, "ERR ", 4);
    bool ok = work(r->core, &errors.out);
    out_write(&errors.out, "", 1);
    struct block *text = outbuf_block(&errors);
    if (ok)
        reply_status(r->out, "OK");
    else
        request_error(r, text ? (const char *)text->data : ERR_OOM);
    block_release(text);
    outbuf_clear(&errors);
}

void acl_load_command(struct request *r)
{
    with_file(r, r->services->access_load);
}

void acl_save_command(struct request *r)
{
    with_file(r, r->services->access_save);
}
