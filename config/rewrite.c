// Writing a configuration back to its file.
#include "config/internal.h"

int config_rewrite(const struct config *c, char *error, size_t error_size)
{
    if (!c->path) {
        snprintf(error, error_size, "The server is running without a config file");
        return -1;
    }
    return 0;
}
