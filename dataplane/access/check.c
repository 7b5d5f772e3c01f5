// What a user may do. Of several selectors one that grants all of an attempt is enough; where none
// does, what is told is the denial that came furthest.
#include <string.h>
#include <strings.h>

#include "common/glob.h"
#include "dataplane/access/internal.h"

static bool allows_command(const struct selector *s, const struct access_attempt *a)
{
    if (a->for_all || selector_bit(s, a->command))
        return true;
    for (unsigned i = 0; a->first && i < s->first.n; i++) {
        const struct text *first = &s->first.at[i];
        if (first->mark == a->command && first->len == a->first_len &&
            strncasecmp(first->ptr, a->first, a->first_len) == 0)
            return true;
    }
    return false;
}

static bool allows_key(const struct selector *s, const struct access_use *use)
{
    if (s->all_keys)
        return true;
    unsigned needed = use->flags & KEY_ANY;
    for (unsigned i = 0; i < s->keys.n; i++) {
        const struct text *pattern = &s->keys.at[i];
        if ((pattern->mark & needed) == needed &&
            glob_match(pattern->ptr, pattern->len, use->ptr, use->len, false))
            return true;
    }
    return false;
}

// A pattern that somebody wants to listen to must be granted as it stands.
static bool allows_channel(const struct selector *s, const struct access_use *use)
{
    if (s->all_channels)
        return true;
    if (use->flags & ACCESS_PATTERN)
        return texts_find(&s->channels, use->ptr, use->len) >= 0;
    for (unsigned i = 0; i < s->channels.n; i++)
        if (glob_match(s->channels.at[i].ptr, s->channels.at[i].len, use->ptr, use->len, false))
            return true;
    return false;
}

static enum access_denial check_selector(const struct selector *s, const struct access_attempt *a,
                                         int *at)
{
    *at = 0;
    if (!allows_command(s, a))
        return ACCESS_DENIED_COMMAND;
    for (unsigned i = 0; i < a->n_uses; i++) {
        const struct access_use *use = &a->uses[i];
        bool channel = use->flags & ACCESS_CHANNEL;
        if (channel ? allows_channel(s, use) : allows_key(s, use))
            continue;
        *at = use->at;
        return channel ? ACCESS_DENIED_CHANNEL : ACCESS_DENIED_KEY;
    }
    return ACCESS_GRANTED;
}

enum access_denial access_check(const struct access_user *u, const struct access_attempt *a,
                                int *at)
{
    enum access_denial told = ACCESS_DENIED_COMMAND;
    *at = 0;
    for (unsigned i = 0; i < u->n_selectors; i++) {
        int where;
        enum access_denial denial = check_selector(u->selectors[i], a, &where);
        if (denial == ACCESS_GRANTED)
            return denial;
        if (denial > told || (denial == told && where > *at)) {
            told = denial;
            *at = where;
        }
    }
    return told;
}

bool access_reaches_all_keys(const struct access_user *u, const struct access_attempt *a,
                             unsigned flags)
{
    for (unsigned i = 0; i < u->n_selectors; i++) {
        const struct selector *s = u->selectors[i];
        int at;
        if (check_selector(s, a, &at) != ACCESS_GRANTED)
            continue;
        if (s->all_keys)
            return true;
        int all = texts_find(&s->keys, "*", 1);
        if (all >= 0 && (s->keys.at[all].mark & flags) == flags)
            return true;
    }
    return false;
}

bool access_may_use(const struct access_user *u, const struct access_use *use)
{
    for (unsigned i = 0; i < u->n_selectors; i++) {
        const struct selector *s = u->selectors[i];
        if (use->flags & ACCESS_CHANNEL ? allows_channel(s, use) : allows_key(s, use))
            return true;
    }
    return false;
}

bool access_keeps_channels(const struct access_user *u, const struct access_user *before)
{
    for (unsigned i = 0; i < u->n_selectors; i++)
        if (u->selectors[i]->all_channels)
            return true;
    for (unsigned i = 0; i < before->n_selectors; i++) {
        const struct selector *s = before->selectors[i];
        if (s->all_channels)
            return false;
        for (unsigned j = 0; j < s->channels.n; j++) {
            struct access_use use = {.ptr = s->channels.at[j].ptr,
                                     .len = s->channels.at[j].len,
                                     .flags = ACCESS_CHANNEL | ACCESS_PATTERN};
            if (!access_may_use(u, &use))
                return false;
        }
    }
    return true;
}
