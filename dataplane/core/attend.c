// What stands before a command but for its own errors: a script that runs for too long, a pause.
// Home looks here when `core->attention` says that there is something, and only then.
#include "dataplane/core/core.h"

enum attended attend(struct core *c, struct client *client, const struct work *w)
{
    (void)c;
    (void)client;
    (void)w;
    return ATTENDED_RUN;
}
