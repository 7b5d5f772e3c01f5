// pollux-server [FILE] [--directive value …]: checks the configuration, then starts and supervises
// the two planes.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "controlplane/supervise.h"

// A configuration on standard input is kept for both planes; no honest one is longer.
#define INPUT_MAX (16u << 20)

static const char help[] =
    "Usage: pollux-server [FILE] [--directive value …] [-]\n"
    "\n"
    "A Redis Cluster server over DPDK or kernel sockets. FILE has redis.conf's syntax; every\n"
    "directive can also be given as --directive value; '-' reads more from standard input.\n"
    "\n"
    "Examples:\n"
    "  pollux-server                                  port 6379, kernel sockets, one core\n"
    "  pollux-server /etc/pollux/pollux.conf\n"
    "  pollux-server --port 7000 --cores 0,1 --maxmemory 4gb\n"
    "  pollux-server --transport dpdk --cores 2,3 --nic-device 0000:3b:00.0 \\\n"
    "                --nic-address 10.9.0.1/24\n"
    "  echo 'maxmemory 1gb' | pollux-server --port 7001 -\n"
    "\n"
    "Options:\n"
    "  -h, --help       this text\n"
    "  -v, --version    the version\n"
    "\n"
    "It starts pollux-dataplane and pollux-controlplane, which stand beside it. polluxctl looks\n"
    "inside. SIGTERM and SIGINT end both in order; status 0 is an orderly end, 1 a\n"
    "configuration or start that failed (the reason is on standard error).\n";

// Copies standard input into memory that both planes can read from its start, and puts it in its
// place. A descriptor, or -1.
static int input_keep(void)
{
    int fd = memfd_create("pollux-configuration", MFD_CLOEXEC);
    char buffer[65536];
    size_t total = 0;
    ssize_t n;
    while (fd >= 0 && (n = read(STDIN_FILENO, buffer, sizeof(buffer))) > 0) {
        total += (size_t)n;
        if (total > INPUT_MAX || write(fd, buffer, (size_t)n) != n) {
            close(fd);
            errno = EFBIG;
            return -1;
        }
    }
    if (fd < 0 || lseek(fd, 0, SEEK_SET) < 0 || dup2(fd, STDIN_FILENO) < 0)
        return -1;
    return fd;
}

int main(int argc, char **argv)
{
    int input = -1;
    for (int i = 1; i < argc; i++) {
        if (i == 1 && (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help"))) {
            fputs(help, stdout);
            return 0;
        }
        if (i == 1 && (!strcmp(argv[i], "-v") || !strcmp(argv[i], "--version"))) {
            puts("pollux-server " POLLUX_VERSION " (answers as Redis 7.0.15)");
            return 0;
        }
        if (!strcmp(argv[i], "-") && input < 0 && (input = input_keep()) < 0) {
            fprintf(stderr, "pollux-server: cannot keep the configuration of standard input: %s\n",
                    strerror(errno));
            return 1;
        }
    }
    char error[512];
    struct config *config = config_new();
    if (config_load_arguments(config, argc - 1, argv + 1, error, sizeof(error)) ||
        config_validate(config, error, sizeof(error))) {
        fprintf(stderr, "pollux-server: %s\n", error);
        config_free(config);
        return 1;
    }
    int status = supervise(config, argc - 1, argv + 1, input);
    config_free(config);
    return status;
}
