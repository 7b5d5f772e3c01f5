// A server for handlers: some cores with a real store and made-up clients, figures and
// configuration, no loop. `server_ask` routes as the core does: gathers on every core, all else at
// home.
#pragma once

#include "common/outbuf.h"
#include "dataplane/commands/command.h"
#include "dataplane/resp/client.h"

#define SERVER_CORES 3
#define SERVER_CLIENTS 4 // of each core
#define SERVER_DATABASES 16

struct core {
    unsigned index;
    struct server *server;
    struct store *store;
    struct client clients[SERVER_CLIENTS];
    struct stream streams[SERVER_CLIENTS];
    bool killed[SERVER_CLIENTS];
    unsigned adopted, reset;
    uint64_t frozen_us;
};

struct server {
    struct keyspace *keyspace;
    struct core cores[SERVER_CORES];
    struct services services;
    const char *password; // NULL: none is asked for
    bool allow_protected, shutting_down;
    char changed[256];        // what CONFIG SET was given: "name=value;"
    const char *config_error; // what CONFIG SET and REWRITE fail with, NULL: they do not
    struct session session;   // of the caller: client 0 of core 0
    char *reply;              // of the last server_ask, ends with '\0'
    size_t reply_len;
    bool replied_error;
};

// cmocka fixtures; the state is a struct server *.
int server_setup(void **state);
int server_teardown(void **state);
// Runs one command of words. Returns the reply, valid until the next one.
#define server_ask(s, ...) server_ask_words(s, (const char *const[]){__VA_ARGS__, NULL})
const char *server_ask_words(struct server *s, const char *const *words);
// The same for arguments that hold any bytes.
const char *server_ask_args(struct server *s, struct arg *argv, int argc);
