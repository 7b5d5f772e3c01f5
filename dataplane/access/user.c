// A user's life, and what is asked of it.
#include <mimalloc.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>

#include "dataplane/access/internal.h"

static _Atomic uint64_t identities;

struct selector *selector_new(bool all_channels)
{
    struct selector *s = mi_zalloc(sizeof(*s));
    if (s)
        s->all_channels = all_channels;
    return s;
}

void selector_free(struct selector *s)
{
    if (!s)
        return;
    texts_clear(&s->keys);
    texts_clear(&s->channels);
    texts_clear(&s->first);
    mi_free(s);
}

static struct selector *selector_copy(const struct selector *from)
{
    struct selector *s = mi_malloc(sizeof(*s));
    if (!s)
        return NULL;
    *s = *from;
    s->channels = s->first = (struct texts){0};
    if (texts_copy(&s->keys, &from->keys) && texts_copy(&s->channels, &from->channels) &&
        texts_copy(&s->first, &from->first))
        return s;
    selector_free(s);
    return NULL;
}

bool user_add_selector(struct access_user *u, struct selector *s)
{
    struct selector **at = s ? mi_reallocn(u->selectors, u->n_selectors + 1, sizeof(*at)) : NULL;
    if (!at) {
        selector_free(s);
        return false;
    }
    u->selectors = at;
    at[u->n_selectors++] = s;
    return true;
}

void user_clear_selectors(struct access_user *u)
{
    while (u->n_selectors > 1)
        selector_free(u->selectors[--u->n_selectors]);
}

static void user_free(struct access_user *u)
{
    for (unsigned i = 0; i < u->n_selectors; i++)
        selector_free(u->selectors[i]);
    mi_free(u->selectors);
    texts_clear(&u->passwords);
    mi_free(u->name);
    mi_free(u);
}

static struct access_user *user_named(const char *name, size_t len)
{
    struct access_user *u = mi_zalloc(sizeof(*u));
    if (!u)
        return NULL;
    atomic_init(&u->references, 1);
    u->identity = atomic_fetch_add_explicit(&identities, 1, memory_order_relaxed);
    u->name = mi_malloc(len + 1);
    if (!u->name) {
        user_free(u);
        return NULL;
    }
    memcpy(u->name, name, len);
    u->name[len] = '\0';
    u->name_len = len;
    return u;
}

struct access_user *access_user_new(const char *name, size_t len, bool all_channels)
{
    struct access_user *u = user_named(name, len);
    if (u && !user_add_selector(u, selector_new(all_channels))) {
        user_free(u);
        return NULL;
    }
    return u;
}

struct access_user *access_user_new_default(void)
{
    struct access_user *u = access_user_new(ACCESS_DEFAULT_USER, strlen(ACCESS_DEFAULT_USER), true);
    if (!u)
        return NULL;
    u->enabled = u->nopass = u->unlimited = true;
    u->selectors[0]->all_keys = true;
    selector_set_all(u->selectors[0], true);
    return u;
}

struct access_user *access_user_copy(const struct access_user *from)
{
    struct access_user *u = user_named(from->name, from->name_len);
    if (!u)
        return NULL;
    u->identity = from->identity;
    u->enabled = from->enabled;
    u->nopass = from->nopass;
    u->sanitize = from->sanitize;
    u->skip_sanitize = from->skip_sanitize;
    u->unlimited = from->unlimited;
    bool ok = texts_copy(&u->passwords, &from->passwords);
    for (unsigned i = 0; ok && i < from->n_selectors; i++)
        ok = user_add_selector(u, selector_copy(from->selectors[i]));
    if (ok)
        return u;
    user_free(u);
    return NULL;
}

// The count is the one thing of a user that changes once it is seen.
static struct access_user *counted(const struct access_user *u)
{
    return (struct access_user *)(uintptr_t)u;
}

const struct access_user *access_user_hold(const struct access_user *u)
{
    if (u)
        atomic_fetch_add_explicit(&counted(u)->references, 1, memory_order_relaxed);
    return u;
}

void access_user_drop(const struct access_user *u)
{
    if (u && atomic_fetch_sub_explicit(&counted(u)->references, 1, memory_order_acq_rel) == 1)
        user_free(counted(u));
}

uint64_t access_user_identity(const struct access_user *u)
{
    return u->identity;
}

const char *access_user_name(const struct access_user *u, size_t *len)
{
    if (len)
        *len = u->name_len;
    return u->name;
}

bool access_user_is_default(const struct access_user *u)
{
    return strcmp(u->name, ACCESS_DEFAULT_USER) == 0;
}

bool access_user_enabled(const struct access_user *u)
{
    return u->enabled;
}

bool access_user_needs_password(const struct access_user *u)
{
    return !u->nopass;
}

bool access_user_unlimited(const struct access_user *u)
{
    return u->unlimited;
}

// --- passwords -----------------------------------------------------------------------------------

void access_hash(const void *password, size_t len, char hash[static ACCESS_HASH_LEN])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t sum[SHA256_DIGEST_LENGTH];
    SHA256(password, len, sum);
    for (size_t i = 0; i < sizeof(sum); i++) {
        hash[2 * i] = digits[sum[i] >> 4];
        hash[2 * i + 1] = digits[sum[i] & 15];
    }
}

bool access_user_is(const struct access_user *u, const void *password, size_t len)
{
    if (!u->enabled)
        return false;
    if (u->nopass)
        return true;
    char hash[ACCESS_HASH_LEN];
    access_hash(password, len, hash);
    bool found = false;
    for (unsigned i = 0; i < u->passwords.n; i++)
        found |= CRYPTO_memcmp(hash, u->passwords.at[i].ptr, ACCESS_HASH_LEN) == 0;
    return found;
}
