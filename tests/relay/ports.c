#include "tests/relay/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

// What may wait in a socket's queue to be sent: less than a device's queue holds, so that a full
// device pushes back instead of losing.
enum { SEND_BUFFER = 512 << 10, RECEIVE_BUFFER = 16 << 20 };

static int open_tap(const char *name)
{
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    snprintf(r.ifr_name, IFNAMSIZ, "%s", name);
    if (fd >= 0 && ioctl(fd, TUNSETIFF, &r) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static int open_packet(const char *name)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    int send = SEND_BUFFER, receive = RECEIVE_BUFFER;
    struct sockaddr_ll to = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(ETH_P_ALL),
                             .sll_ifindex = (int)if_nametoindex(name)};
    if (fd >= 0 && to.sll_ifindex &&
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send, sizeof(send)) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive, sizeof(receive)) == 0 &&
        bind(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

int port_open(const char *text, char *error, unsigned size)
{
    int fd;
    if (strncmp(text, "tap:", 4) == 0) {
        fd = open_tap(text + 4);
    } else if (strncmp(text, "packet:", 7) == 0) {
        fd = open_packet(text + 7);
    } else {
        snprintf(error, size, "'%s' is neither tap:NAME nor packet:NAME", text);
        return -1;
    }
    if (fd < 0)
        snprintf(error, size, "%s: %s; is the interface there, and are you root?", text,
                 strerror(errno));
    return fd;
}
