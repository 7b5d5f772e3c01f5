#include "controlplane/control.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/log.h"
#include "common/process.h"
#include "controlplane/link.h"
#include "controlplane/server.h"
#include "controlplane/settings.h"

// The longest sleep: clients that do not read are looked at by then.
#define TURN_MS 1000

static bool poll_in(int epoll, int fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    return fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) == 0;
}

static void control_loop(struct link *link, struct server *server, int epoll, int signals)
{
    struct epoll_event events[4];
    struct signalfd_siginfo info;
    while (!server->stop) {
        link_turn(link);
        server_turn(server);
        log_flush();
        if (server->stop)
            break;
        int timeout = link_timeout_ms(link);
        if (timeout > TURN_MS)
            timeout = TURN_MS;
        if (link_sleep(link))
            timeout = 0;
        epoll_wait(epoll, events, 4, timeout);
        link_awake(link);
        if (read(signals, &info, sizeof(info)) == sizeof(info)) {
            char sender[PROCESS_TEXT_MAX];
            log_notice("Received %s from %s: the control plane ends",
                       info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM",
                       process_sender((pid_t)info.ssi_pid, info.ssi_uid, sender));
            server->stop = true;
        }
    }
}

static int signals_open(void)
{
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    return signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
}

// The supervisor says who it is, so that SHUTDOWN ends the whole server.
static int supervisor_pid(void)
{
    const char *text = getenv("POLLUX_SUPERVISOR");
    int pid = text ? atoi(text) : 0;
    return pid > 1 && pid == getppid() ? pid : 0;
}

static int control_fail(const char *error)
{
    fprintf(stderr, "pollux-controlplane: %s\n", error);
    return 1;
}

int control_run(const struct config *config)
{
    char error[512];
    static struct settings settings; // the server refers to it
    if (chdir(config_string(config, "dir"))) {
        snprintf(error, sizeof(error), "cannot change to dir '%s': %s",
                 config_string(config, "dir"), strerror(errno));
        return control_fail(error);
    }
    if (settings_read(config, &settings, error, sizeof(error)))
        return control_fail(error);
    int signals = signals_open(), epoll = epoll_create1(EPOLL_CLOEXEC);
    struct link *link = link_open(&(struct link_options){settings.run_directory, settings.port},
                                  error, sizeof(error));
    if (!link)
        return control_fail(error);
    static struct server server;
    server.link = link;
    server.run_directory = settings.run_directory;
    server.port = settings.port;
    server.supervisor_pid = supervisor_pid();
    if (settings_open_log(config, 'C', error, sizeof(error)) ||
        server_open(&server, error, sizeof(error))) {
        link_close(link);
        return control_fail(error);
    }
    if (!poll_in(epoll, signals) || !poll_in(epoll, link_fd(link)) ||
        !poll_in(epoll, server_fd(&server))) {
        server_close(&server);
        link_close(link);
        return control_fail("cannot make an epoll descriptor");
    }
    log_notice("The control plane serves %s", server.path);
    control_loop(link, &server, epoll, signals);
    server_close(&server);
    link_close(link);
    log_close();
    close(signals);
    close(epoll);
    return 0;
}
