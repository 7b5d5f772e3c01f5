// Users of the process and of its clients. See access.h.
#include "dataplane/core/access.h"

#include <assert.h>
#include <errno.h>
#include <mimalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/block.h"
#include "common/file.h"
#include "common/outbuf.h"
#include "dataplane/commands/connection.h"
#include "dataplane/commands/permission.h"
#include "dataplane/core/message.h"
#include "dataplane/core/publish.h"

// --- the set in force ----------------------------------------------------------------------------

static const struct access_users *newest(struct core *c)
{
    struct server_access *a = c->server->access;
    pthread_mutex_lock(&a->lock);
    const struct access_users *users = access_users_hold(atomic_load(&a->users));
    pthread_mutex_unlock(&a->lock);
    return users;
}

static bool publish(struct core *c, const struct access_users *from, struct access_users *to)
{
    struct server_access *a = c->server->access;
    pthread_mutex_lock(&a->lock);
    bool ok = atomic_load(&a->users) == from;
    if (ok)
        atomic_store(&a->users, to);
    pthread_mutex_unlock(&a->lock);
    access_users_drop(ok ? from : to);
    return ok;
}

// --- who a client is -----------------------------------------------------------------------------

// Whether commands of the client have to be looked at before they run.
static void look_at(const struct core *c, struct client *client)
{
    client->limited = client->user && ((!client->authenticated && !c->open) ||
                                       !access_user_unlimited(client->user));
}

static void become(const struct core *c, struct client *client, const struct access_user *user,
                   bool authenticated)
{
    access_user_hold(user);
    access_user_drop(client->user);
    client->user = user;
    client->authenticated = authenticated;
    look_at(c, client);
}

void access_client_default(struct core *c, struct client *client)
{
    become(c, client, access_users_default(c->users), c->open);
}

void access_client_free(struct client *client)
{
    access_user_drop(client->user);
    client->user = NULL;
}

// Its user is not the one that it was let in as.
static void expel(struct core *c, struct client *client)
{
    become(c, client, access_users_default(c->users), false);
    publish_forget(c, client); // its peer may leave the connection half open for a while
    client_close(c, client);
}

// Whether it is subscribed to what its user may not listen to.
static bool hears_too_much(const struct client *client)
{
    for (unsigned kind = 0; kind < CHANNEL_KINDS; kind++)
        for (const struct subscription *s = client->subscriber->first[kind]; s; s = s->next) {
            struct access_use use = {.ptr = s->channel->name,
                                     .len = s->channel->len,
                                     .flags = ACCESS_CHANNEL |
                                              (kind == CHANNEL_PATTERN ? ACCESS_PATTERN : 0)};
            if (!access_may_use(client->user, &use))
                return true;
        }
    return false;
}

static void renew(struct core *c, struct client *client)
{
    size_t len;
    const char *name = access_user_name(client->user, &len);
    const struct access_user *user = access_users_find(c->users, name, len);
    if (!user || access_user_identity(user) != access_user_identity(client->user)) {
        expel(c, client);
        return;
    }
    if (user == client->user) {
        look_at(c, client); // the default user may be another
        return;
    }
    bool hears = client->subscriber && !access_keeps_channels(user, client->user);
    become(c, client, user, client->authenticated);
    if (hears && hears_too_much(client))
        expel(c, client);
}

void access_adopt(struct core *c)
{
    struct server_access *a = c->server->access;
    if (__builtin_expect(atomic_load_explicit(&a->users, memory_order_acquire) == c->users, 1))
        return;
    const struct access_users *old = c->users;
    pthread_mutex_lock(&a->lock);
    c->users = access_users_hold(atomic_load(&a->users));
    c->users_bytes = 0;
    pthread_cond_broadcast(&a->settled);
    pthread_mutex_unlock(&a->lock);
    const struct access_user *everybody = access_users_default(c->users);
    c->nopass = !access_user_needs_password(everybody);
    c->open = c->nopass && access_user_enabled(everybody);
    for (struct client *client = c->clients, *next; client; client = next) {
        next = client->next;
        if (client->user && !(client->flags & CLIENT_GONE))
            renew(c, client);
    }
    access_users_drop(old);
}

void access_leave(struct core *c)
{
    access_users_drop(c->users);
    c->users = NULL;
}

// --- what is denied ------------------------------------------------------------------------------

static void log_denial(struct core *c, struct client *client, struct access_entry *e)
{
    struct server_access *a = c->server->access;
    struct session session;
    session_of(client, &session);
    struct request r = {.session = &session,
                        .client = client,
                        .command = client->last_command,
                        .services = &c->services,
                        .core = c,
                        .now_us = c->now_us};
    struct outbuf line;
    outbuf_init(&line);
    client_describe(&r, client, &line.out);
    struct block *text = outbuf_block(&line);
    if (text) {
        e->client = (char *)text->data;
        e->client_len = text->len;
        e->last_ms = c->now_ms;
        pthread_mutex_lock(&a->lock);
        access_log_add(&a->log, e, atomic_load(&a->log_max));
        pthread_mutex_unlock(&a->lock);
    }
    block_release(text);
    outbuf_clear(&line);
}

// What happened away from the client's home, told to all cores: its own one logs it.
struct far_denial {
    enum access_denial reason;
    enum access_context context;
};

static struct client *client_of(struct core *c, uint64_t id)
{
    struct client *client = c->clients;
    while (client && client->id != id)
        client = client->next;
    return client;
}

static void log_far_denial(struct core *c, struct message *m)
{
    struct far_denial far;
    memcpy(&far, m->argv[0].ptr, sizeof(far));
    struct access_entry e = {.reason = far.reason,
                             .context = far.context,
                             .object = (char *)(uintptr_t)m->argv[1].ptr,
                             .object_len = m->argv[1].len,
                             .user = (char *)(uintptr_t)m->argv[2].ptr,
                             .user_len = m->argv[2].len};
    struct client *client = client_of(c, m->session.client_id);
    if (client)
        log_denial(c, client, &e);
}

static void count_denial(struct core *c, enum access_denial reason)
{
    switch (reason) {
    case ACCESS_DENIED_COMMAND:
        c->counters.denied_command++;
        return;
    case ACCESS_DENIED_KEY:
        c->counters.denied_key++;
        return;
    case ACCESS_DENIED_CHANNEL:
        c->counters.denied_channel++;
        return;
    case ACCESS_DENIED_AUTH:
        c->counters.denied_auth++;
        return;
    case ACCESS_GRANTED:
        break;
    }
    assert(!"nothing was denied");
}

void access_denied(struct core *c, struct client *client, const struct session *session,
                   enum access_denial reason, enum access_context context,
                   const struct command *command, const struct arg *denied)
{
    const struct access_user *user = client ? client->user : session->user;
    const char *name = permission_name(command);
    struct arg object = reason == ACCESS_DENIED_COMMAND
                            ? (struct arg){.ptr = (const uint8_t *)name, .len = strlen(name)}
                            : (struct arg){.ptr = denied->ptr, .len = denied->len};
    size_t user_len;
    const char *user_name = access_user_name(user, &user_len);
    count_denial(c, reason);
    if (!client) // or the command went about as a message
        client = client_of(c, session->client_id);
    if (client) {
        struct access_entry e = {.reason = reason,
                                 .context = context,
                                 .object = (char *)(uintptr_t)object.ptr,
                                 .object_len = object.len,
                                 .user = (char *)(uintptr_t)user_name,
                                 .user_len = user_len};
        log_denial(c, client, &e);
        return;
    }
    struct far_denial far = {reason, context};
    struct arg args[] = {{.ptr = (const uint8_t *)&far, .len = sizeof(far)},
                         object,
                         {.ptr = (const uint8_t *)user_name, .len = user_len}};
    (void)mailbox_tell_all(c, session, 3, args, log_far_denial); // short of memory: not logged
}

// --- what commands ask ---------------------------------------------------------------------------

static bool authenticate(struct request *r, const struct arg *name, const struct arg *password)
{
    struct core *c = r->core;
    const struct access_user *user =
        access_users_find(c->users, (const char *)name->ptr, name->len);
    if (user && access_user_is(user, password->ptr, password->len)) {
        become(c, r->client, user, true);
        session_of(r->client, r->session);
        return true;
    }
    count_denial(c, ACCESS_DENIED_AUTH);
    struct access_entry e = {
        .reason = ACCESS_DENIED_AUTH,
        .context = r->client->flags & CLIENT_MULTI ? ACCESS_MULTI : ACCESS_TOPLEVEL,
        .object = (char *)(uintptr_t)r->argv[0].ptr,
        .object_len = r->argv[0].len,
        .user = (char *)(uintptr_t)name->ptr,
        .user_len = name->len,
    };
    log_denial(c, r->client, &e);
    return false;
}

static bool password_required(struct core *c)
{
    return !c->nopass;
}

static void client_default(struct request *r)
{
    access_client_default(r->core, r->client);
    session_of(r->client, r->session);
}

static const struct access_users *users_here(struct core *c)
{
    return c->users;
}

static void each_denial(struct core *c, uint64_t max,
                        void (*each)(void *context, const struct access_entry *e), void *context)
{
    struct server_access *a = c->server->access;
    pthread_mutex_lock(&a->lock);
    for (const struct access_entry *e = a->log.first; e && max; e = e->next, max--)
        each(context, e);
    pthread_mutex_unlock(&a->lock);
}

uint64_t access_log_bytes(struct core *c)
{
    struct server_access *a = c->server->access;
    pthread_mutex_lock(&a->lock);
    uint64_t bytes = a->log.bytes;
    pthread_mutex_unlock(&a->lock);
    return bytes;
}

static void forget_denials(struct core *c)
{
    struct server_access *a = c->server->access;
    pthread_mutex_lock(&a->lock);
    access_log_trim(&a->log, 0);
    pthread_mutex_unlock(&a->lock);
}

// --- the file ------------------------------------------------------------------------------------

// More is a mistaken path.
#define FILE_MAX ((size_t)64 << 20)

static bool all_channels_of(const struct config *config)
{
    return strcmp(config_get(config, "acl-pubsub-default"), "allchannels") == 0;
}

static void say(struct out *o, const char *text)
{
    out_write(o, text, strlen(text));
}

// What the configuration says of files.
struct file_of_users {
    char *name; // as `aclfile` has it; NULL: there is none
    char *path; // from `dir` on
    bool all_channels;
};

static struct file_of_users file_named(const struct config *config)
{
    const char *name = config_get(config, "aclfile");
    struct file_of_users f = {.all_channels = all_channels_of(config)};
    if (!*name)
        return f;
    int len = *name == '/' ? asprintf(&f.path, "%s", name)
                           : asprintf(&f.path, "%s/%s", config_get(config, "dir"), name);
    f.name = strdup(name);
    assert(len > 0 && f.name);
    (void)len;
    return f;
}

static void file_forget(struct file_of_users *f)
{
    free(f->name);
    free(f->path);
}

static struct file_of_users file_in_force(struct server *server)
{
    pthread_mutex_lock(&server->config_lock);
    struct file_of_users f = file_named(atomic_load(&server->config));
    pthread_mutex_unlock(&server->config_lock);
    return f;
}

static struct access_users *read_file(const struct file_of_users *f,
                                      const struct access_users *before, struct out *errors)
{
    size_t len;
    char *text = file_read(f->path, FILE_MAX, &len);
    if (!text) {
        const char *why = strerror(errno);
        say(errors, "Error loading ACLs, opening file '");
        say(errors, f->name);
        say(errors, "': ");
        say(errors, why);
        return NULL;
    }
    struct access_users *users =
        access_users_load(before, permission_table(), text, len, f->name, f->all_channels, errors);
    free(text);
    return users;
}

// Waits until every core has adopted the set in force. On the service thread, which no core waits
// for.
static void settle(struct server *server)
{
    enum { LOOK_NS = 100000000 }; // whether the server ends
    struct server_access *a = server->access;
    for (unsigned i = 0; i < server->n_cores; i++)
        io_wake(server->cores[i]->io);
    pthread_mutex_lock(&a->lock);
    for (unsigned i = 0; i < server->n_cores && !atomic_load(&server->stopping);) {
        if (server->cores[i]->users == atomic_load(&a->users)) {
            i++;
            continue;
        }
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&a->settled, &a->lock, &until);
    }
    pthread_mutex_unlock(&a->lock);
}

static const char no_file[] =
    "This Redis instance is not configured to use an ACL file. You may want to specify users via "
    "the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis "
    "configuration file set) in order to store users in the Redis configuration.";

static bool load(struct core *c, struct out *errors)
{
    struct file_of_users f = file_in_force(c->server);
    bool done = false;
    if (!f.name)
        say(errors, no_file);
    while (f.name && !done) {
        const struct access_users *before = newest(c);
        struct access_users *users = read_file(&f, before, errors);
        done = users && publish(c, before, users);
        access_users_drop(before);
        if (!users)
            break;
    }
    file_forget(&f);
    if (done)
        settle(c->server);
    return done;
}

static bool save(struct core *c, struct out *errors)
{
    struct file_of_users f = file_in_force(c->server);
    bool done = false;
    if (!f.name) {
        say(errors, no_file);
        return false;
    }
    struct outbuf text;
    outbuf_init(&text);
    const struct access_users *users = newest(c);
    access_users_save(users, permission_table(), &text.out);
    access_users_drop(users);
    struct block *all = text.out.failed ? NULL : outbuf_block(&text);
    char error[512] = "out of memory";
    if (all)
        done = file_replace(f.path, (const char *)all->data, all->len, error, sizeof(error)) == 0;
    if (!done) {
        log_warning("ACL SAVE: %s", error);
        say(errors, "There was an error trying to save the ACLs. Please check the server logs for "
                    "more information");
    }
    block_release(all);
    outbuf_clear(&text);
    file_forget(&f);
    return done;
}

static bool all_channels_by_default(struct core *c)
{
    return c->settings.all_channels;
}

void access_services(struct services *services)
{
    services->authenticate = authenticate;
    services->password_required = password_required;
    services->client_default = client_default;
    services->access_users = users_here;
    services->access_newest = newest;
    services->access_publish = publish;
    services->access_adopt = access_adopt;
    services->access_log = each_denial;
    services->access_log_reset = forget_denials;
    services->access_all_channels = all_channels_by_default;
    services->access_load = load;
    services->access_save = save;
}

// --- start, end, configuration -------------------------------------------------------------------

// The default user with the password that requirepass names.
static struct access_users *with_password(const struct access_users *users, const char *password)
{
    struct access_user *u = access_user_copy(access_users_default(users));
    if (!u)
        return NULL;
    size_t len = password ? strlen(password) : 0;
    char *rule = len ? mi_malloc(len + 1) : NULL;
    struct access_rule rules[2] = {{"resetpass", 9}, {"nopass", 6}};
    if (rule) {
        rule[0] = '>';
        memcpy(rule + 1, password, len);
        rules[1] = (struct access_rule){rule, len + 1};
    }
    bool ok = rule || !len;
    for (int i = 0; ok && i < 2; i++)
        ok = access_user_apply(u, permission_table(), rules[i], false) == ACCESS_OK;
    mi_free(rule);
    if (ok)
        return access_users_with(users, u);
    access_user_drop(u);
    return NULL;
}

int access_reconfigure(struct server *server, const struct config *old, const struct config *new,
                       char *error, size_t size)
{
    struct server_access *a = server->access;
    const char *password = config_get(new, "requirepass");
    atomic_store(&a->log_max, (uint64_t)config_integer(new, "acllog-max-len"));
    pthread_mutex_lock(&a->lock);
    access_log_trim(&a->log, atomic_load(&a->log_max));
    struct access_users *changed = NULL;
    bool same = old && strcmp(config_get(old, "requirepass"), password) == 0;
    if (!same) {
        const struct access_users *users = atomic_load(&a->users);
        changed = with_password(users, password);
        if (changed) {
            atomic_store(&a->users, changed);
            access_users_drop(users);
        }
    }
    pthread_mutex_unlock(&a->lock);
    if (same || changed)
        return 0;
    snprintf(error, size, "out of memory");
    return -1;
}

// The users of `user` lines and those there are. NULL with one line in `errors`.
static struct access_users *from_lines(const struct config *config,
                                       const struct access_users *before, struct out *errors)
{
    const char *const *words;
    struct access_loading *l =
        access_loading_new(permission_table(), "configuration", all_channels_of(config),
                           access_users_default(before), errors);
    if (!l)
        return NULL;
    for (unsigned i = 0, n; (n = config_multi(config, "user", i, &words)); i++) {
        struct access_rule *rules = mi_mallocn(n, sizeof(*rules));
        if (!rules) {
            say(errors, "out of memory");
            access_users_drop(access_loading_end(l, before));
            return NULL;
        }
        for (unsigned w = 0; w < n; w++)
            rules[w] = (struct access_rule){words[w], strlen(words[w])};
        access_loading_add(l, config_user_place(config, i), i + 1, rules, (int)n);
        mi_free(rules);
    }
    return access_loading_end(l, before);
}

// The words of a text between single spaces, behind those there are. False: memory is short.
struct word_list {
    const char **at;
    unsigned n, room;
};

static bool add_words(struct word_list *w, char *text)
{
    for (char *end; text; text = end) {
        end = strchr(text, ' ');
        if (end)
            *end++ = '\0';
        if (w->n == w->room) {
            unsigned room = w->room ? 2 * w->room : 64;
            const char **at = mi_reallocn(w->at, room, sizeof(*at));
            if (!at)
                return false;
            w->at = at;
            w->room = room;
        }
        w->at[w->n++] = text;
    }
    return true;
}

static struct block *described(const struct access_user *u)
{
    struct outbuf text;
    size_t len;
    outbuf_init(&text);
    const char *name = access_user_name(u, &len);
    out_write(&text.out, name, len);
    say(&text.out, " ");
    access_describe(u, permission_table(), &text.out);
    out_write(&text.out, "", 1);
    struct block *all = outbuf_block(&text);
    outbuf_clear(&text);
    return all;
}

// Whether requirepass alone makes the users what they are.
static bool are_plain(const struct access_users *users, const struct config *config)
{
    struct access_users *plain = access_users_new();
    struct access_users *wanted =
        plain ? with_password(plain, config_get(config, "requirepass")) : NULL;
    struct block *a = users->n == 1 ? described(users->at[0]) : NULL;
    struct block *b = wanted ? described(wanted->at[0]) : NULL;
    bool same = a && b && strcmp((const char *)a->data, (const char *)b->data) == 0;
    block_release(a);
    block_release(b);
    access_users_drop(wanted);
    access_users_drop(plain);
    return same;
}

bool access_lines(struct server *server, struct config *config)
{
    struct server_access *a = server->access;
    if (*config_get(config, "aclfile"))
        return true;
    pthread_mutex_lock(&a->lock);
    const struct access_users *users = access_users_hold(atomic_load(&a->users));
    pthread_mutex_unlock(&a->lock);
    unsigned n = are_plain(users, config) ? 0 : users->n;
    struct word_list words = {0};
    unsigned *starts = mi_mallocn(users->n + 1, sizeof(*starts));
    struct block **texts = mi_calloc(users->n, sizeof(*texts));
    bool ok = starts && texts;
    for (unsigned i = 0; ok && i < n; i++) {
        starts[i] = words.n;
        texts[i] = described(users->at[i]);
        ok = texts[i] && add_words(&words, (char *)texts[i]->data);
    }
    if (ok) {
        starts[n] = words.n;
        config_set_lines(config, "user", words.at, starts, n);
    }
    for (unsigned i = 0; texts && i < n; i++)
        block_release(texts[i]);
    mi_free(texts);
    mi_free(starts);
    mi_free(words.at);
    access_users_drop(users);
    return ok;
}

// What the configuration names: users of its lines, or of a file.
static int start_users(struct server *server, const struct config *config, char *error, size_t size)
{
    struct server_access *a = server->access;
    const struct access_users *before = atomic_load(&a->users);
    const char *const *words;
    struct file_of_users f = file_named(config);
    bool lines = config_multi(config, "user", 0, &words);
    if (!lines && !f.name)
        return 0;
    struct outbuf errors;
    outbuf_init(&errors);
    struct access_users *users =
        lines ? from_lines(config, before, &errors.out) : read_file(&f, before, &errors.out);
    if (users) {
        atomic_store(&a->users, users);
        access_users_drop(before);
    } else {
        struct block *text = outbuf_block(&errors);
        int len = text ? (int)text->len : 0;
        const char *told = text ? (const char *)text->data : "";
        while (len && told[len - 1] == ' ')
            len--;
        if ((size_t)len < size) {
            snprintf(error, size, "%.*s", len, told);
        } else {
            fprintf(stderr, "%.*s\n", len, told);
            snprintf(error, size, "the users of %s have errors, told above",
                     f.name ? f.name : "the configuration");
        }
        block_release(text);
    }
    outbuf_clear(&errors);
    file_forget(&f);
    return users ? 0 : -1;
}

int access_start(struct server *server, const struct config *config, char *error, size_t size)
{
    struct server_access *a = server->access = mi_zalloc(sizeof(*a));
    struct access_users *users = a ? access_users_new() : NULL;
    if (!users) {
        mi_free(a);
        server->access = NULL;
        snprintf(error, size, "out of memory");
        return -1;
    }
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->settled, NULL);
    atomic_init(&a->users, users);
    if (access_reconfigure(server, NULL, config, error, size))
        return -1;
    return start_users(server, config, error, size);
}

void access_end(struct server *server)
{
    struct server_access *a = server->access;
    if (!a)
        return;
    access_log_trim(&a->log, 0);
    access_users_drop(atomic_load(&a->users));
    pthread_cond_destroy(&a->settled);
    pthread_mutex_destroy(&a->lock);
    mi_free(a);
}
