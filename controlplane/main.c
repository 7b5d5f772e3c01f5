// pollux-controlplane [FILE] [--directive value …]: the control plane alone, as a systemd unit runs
// it. pollux-server starts and supervises it otherwise.
#include <stdio.h>
#include <string.h>

#include "controlplane/control.h"

static void usage(void)
{
    puts("Usage: pollux-controlplane [FILE] [--directive value …]\n"
         "\n"
         "The control plane of a Pollux server: it attaches to the data plane of the same port\n"
         "and serves the socket that polluxctl talks to. It takes the server's configuration.\n"
         "\n"
         "Examples:\n"
         "  pollux-controlplane /etc/pollux/pollux.conf\n"
         "  pollux-controlplane --port 7000 --runtime-dir /run/pollux");
}

int main(int argc, char **argv)
{
    if (argc == 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
        usage();
        return 0;
    }
    if (argc == 2 && (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-v"))) {
        puts("pollux-controlplane " POLLUX_VERSION);
        return 0;
    }
    char error[512];
    struct config *config = config_new();
    if (config_load_arguments(config, argc - 1, argv + 1, error, sizeof(error)) ||
        config_validate(config, error, sizeof(error))) {
        fprintf(stderr, "pollux-controlplane: %s\n", error);
        config_free(config);
        return 1;
    }
    int status = control_run(config);
    config_free(config);
    return status;
}
