// What commands see of the client that sent them. It is copied for every one of them, so it is one
// piece of a few bytes.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CLIENT_VIEW                                                                            \
    uint32_t db;                                                                               \
    uint8_t resp; /* 2 or 3 */                                                                 \
    bool authenticated, no_touch, no_evict;                                                    \
    bool internal; /* the control plane's */                                                   \
    bool remember; /* what it reads now, for it is told when that changes (CLIENT TRACKING) */ \
    uint8_t home   /* its core */
struct client_view {
    CLIENT_VIEW;
};
