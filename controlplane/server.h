// The control socket: a UNIX socket that speaks RESP to operators' tools. It is bounded in clients,
// in the length of requests and of replies that nobody reads, and never waits for any of them.
//
// A client's requests are executed one after the other; a command that has to ask a core marks its
// client busy and ends later. What a client sends meanwhile stays in the kernel's socket.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/plane.h"
#include "common/resp_text.h"

#define SERVER_CLIENTS_MAX 64
#define SERVER_WORDS_MAX 1024
// A request is relayed to a core as one message at most; this leaves room for its headers.
#define SERVER_REQUEST_MAX (96 * 1024)
// Requests are not executed while more of the replies before them than this are unread.
#define SERVER_UNREAD_HIGH (1024 * 1024)
// How long EXECUTE and CONFIG wait for their reply unless TIMEOUT said otherwise: a command may
// take its time (KEYS over millions, DEBUG SLEEP).
#define SERVER_EXECUTE_MS 30000u
// A client that takes none of its reply for so long is closed.
#define SERVER_STUCK_US 10000000u
// When all places are taken, one that was silent for so long makes room for a new client.
#define SERVER_IDLE_US 10000000u

struct server;
struct link;

struct server_client {
    int fd; // -1: the place is free
    struct server *server;
    char *in; // SERVER_REQUEST_MAX bytes, while something is unfinished
    size_t in_len;
    struct resp_text out;
    size_t out_sent;
    uint64_t moved_us;   // when bytes last moved
    uint32_t events;     // that epoll watches
    bool busy;           // a command is under way
    bool closing;        // close when the output is sent
    unsigned execute_ms; // what its EXECUTE and CONFIG may take

    // Of the command under way (commands.c).
    uint64_t request; // of link_ask
    struct resp_text text;
    unsigned core;
    bool one_core; // and no other
    uint32_t max;
    unsigned parts;
    struct plane_question question;
};

struct server {
    struct link *link;
    const char *run_directory;
    unsigned port;
    int supervisor_pid; // 0: none
    uint64_t started_us;
    bool stop; // SHUTDOWN was asked: the loop ends

    int epoll, listener;
    char path[512];
    struct server_client clients[SERVER_CLIENTS_MAX];
    unsigned n_clients;
    uint64_t accepted, refused;
};

// Listens on RUNDIR/PORT.control; the caller holds the control side's lock. `server` is prepared by
// the caller: link, run_directory, port, supervisor_pid. 0, or -1 with one line in `error`.
int server_open(struct server *server, char *error, size_t error_size);
// Readable when server_turn has something to do; it wants to be called once a second too.
int server_fd(const struct server *server);
void server_turn(struct server *server);
// Sends what can be sent without waiting and closes all.
void server_close(struct server *server);

// For commands.c: the command under way has written its reply.
void server_done(struct server_client *c);
// Executes a request: writes the reply to c->out, or sets c->busy (commands.c).
void command_run(struct server_client *c, const struct resp_word *words, unsigned n);
// The client is going: forgets what it waits for (commands.c).
void command_abandon(struct server_client *c);
