// pollux-dataplane: the process that moves packets and keys. Usually started by pollux-server;
// alone it serves as well.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/core/core.h"

static const char help[] =
    "pollux-dataplane: the data plane of Pollux (packets, RESP, keys)\n"
    "\n"
    "Examples:\n"
    "  pollux-dataplane                             # port 6379, kernel sockets, built-in "
    "defaults\n"
    "  pollux-dataplane /etc/pollux/pollux.conf\n"
    "  pollux-dataplane --port 7000 --cores 0,1\n"
    "  pollux-dataplane --transport dpdk --nic-device net_tap0,iface=plx0 \\\n"
    "                   --nic-address 10.9.0.1/24 --cores 0\n"
    "\n"
    "Usage: pollux-dataplane [FILE] [--directive value ...] [-]\n"
    "  FILE               redis.conf syntax; - reads standard input\n"
    "  --directive value  any line of the file\n"
    "  -v, --version      the version\n"
    "  -h, --help         this text\n"
    "\n"
    "pollux-server starts it together with the control plane. See pollux.conf(5).\n";

int main(int argc, char **argv)
{
    for (int i = 1; i < argc && i < 2; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(help, stdout);
            return 0;
        }
        if (strcmp(argv[i], "-v") == 0 || strcmp(argv[i], "--version") == 0) {
            puts("pollux-dataplane " POLLUX_VERSION);
            return 0;
        }
    }
    char error[512];
    struct config *config = config_new();
    if (!config || config_load_arguments(config, argc - 1, argv + 1, error, sizeof(error)) ||
        config_validate(config, error, sizeof(error))) {
        fprintf(stderr, "pollux-dataplane: %s\n", config ? error : "out of memory");
        config_free(config);
        return 1;
    }
    char executable[256];
    ssize_t n = readlink("/proc/self/exe", executable, sizeof(executable) - 1);
    executable[n > 0 ? n : 0] = 0;
    int status = server_run(config, executable);
    config_free(config);
    return status;
}
