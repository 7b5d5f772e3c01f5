// The commands of the control socket. What the segment tells is answered at once; what a core alone
// knows is asked of it: of one core (EXECUTE, CONFIG), or of one after the other (observe.c).
// Replies are maps that programs read by name.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "controlplane/commands.h"
#include "controlplane/report.h"

#define EXECUTE_SECONDS_MAX 86400 // that TIMEOUT takes: a day

struct command {
    const char *name;
    unsigned words_min, words_max; // with the name
    void (*run)(struct server_client *c, const struct resp_word *words, unsigned n);
    const char *help;
};

// --- asking cores --------------------------------------------------------------------------------

static void put_failure(struct server_client *c, enum link_outcome outcome)
{
    struct resp_text *t = &c->out;
    switch (outcome) {
    case LINK_GONE:
        if (link_attached(c->server->link))
            resp_put_error(t, "ERR the data plane has no core %u", c->core);
        else
            resp_put_error(t,
                           "NODATAPLANE no data plane is attached on port %u: it is starting, or "
                           "it has ended (see its log)",
                           c->server->port);
        break;
    case LINK_TIMED_OUT:
        resp_put_error(
            t,
            "TIMEOUT core %u of the data plane (pid %d) did not answer in time: it hangs "
            "or executes a long command, which goes on",
            c->core, link_data_pid(c->server->link));
        break;
    case LINK_TOO_LONG:
        resp_put_error(t, "ERR the request or its reply is too long for the control socket: use a "
                          "connection to the server's port");
        break;
    default:
        resp_put_error(t, "BUSY core %u takes no more requests now: try again", c->core);
    }
}

void command_ask(struct server_client *c, enum plane_message_kind kind, const void *data,
                 size_t len, unsigned timeout_ms, link_reply_fn *reply)
{
    uint64_t request = link_ask(c->server->link, c->core, kind, data, len, timeout_ms, reply, c);
    if (request) { // else `reply` has been called
        c->request = request;
        c->busy = true;
    }
}

void command_abandon(struct server_client *c)
{
    if (c->request)
        link_forget(c->server->link, c->request);
    c->request = 0;
    resp_text_free(&c->text);
    command_capture_abandon(c);
}

// Ends a command that asked: what was gathered in c->text is its reply.
void command_finish(struct server_client *c)
{
    if (c->text.failed)
        resp_put_error(&c->out, "ERR no memory for the reply");
    else
        resp_put_raw(&c->out, c->text.data, c->text.len);
    resp_text_free(&c->text);
    server_done(c);
}

void command_fail(struct server_client *c, enum link_outcome outcome, enum plane_message_kind kind,
                  const uint8_t *data, size_t len)
{
    resp_text_free(&c->text);
    if (outcome == LINK_REPLIED && kind == PLANE_ERROR)
        resp_put_error(&c->out, "ERR %.*s", len < 400 ? (int)len : 400, (const char *)data);
    else if (outcome == LINK_REPLIED)
        resp_put_error(&c->out,
                       "ERR core %u gave an answer that cannot be understood: are both "
                       "planes of one version?",
                       c->core);
    else
        put_failure(c, outcome);
    server_done(c);
}

bool command_pass(struct resp_text *t, const uint8_t *data, size_t len, bool spread)
{
    struct resp_scan scan = {0};
    bool bad = false;
    if (!resp_scan(&scan, (const char *)data, len, &bad) || scan.at != len)
        return false;
    struct resp_value *v = resp_value_read((const char *)data, len);
    if (!v)
        return false; // nested too deep
    if (spread && v->type == '*')
        for (size_t i = 0; i < v->n; i++)
            resp_put_value(t, &v->items[i]);
    else
        resp_put_value(t, v);
    resp_value_free(v);
    return true;
}

// --- EXECUTE, CONFIG -----------------------------------------------------------------------------

static void executed(void *context, enum link_outcome outcome, enum plane_message_kind kind,
                     const uint8_t *data, size_t len)
{
    struct server_client *c = context;
    c->request = 0;
    struct resp_scan scan = {0};
    bool bad = false;
    if (outcome != LINK_REPLIED || kind != PLANE_REPLY ||
        !resp_scan(&scan, (const char *)data, len, &bad) || scan.at != len) {
        command_fail(c, outcome, kind, data, len);
        return;
    }
    if (c->out.resp == 3) {
        resp_put_raw(&c->out, data, len);
    } else {
        struct resp_value *v = resp_value_read((const char *)data, len);
        if (v)
            resp_put_value(&c->out, v);
        else
            resp_put_error(&c->out, "ERR the reply of core %u is nested too deep", c->core);
        resp_value_free(v);
    }
    server_done(c);
}

static void execute(struct server_client *c, const struct resp_word *words, unsigned n)
{
    struct resp_text request = {.resp = 2};
    resp_open(&request, '*');
    for (unsigned i = 0; i < n; i++)
        resp_put_bytes(&request, words[i].ptr, words[i].len);
    resp_close(&request);
    c->core = 0;
    if (request.failed)
        resp_put_error(&c->out, "ERR no memory for the request");
    else
        command_ask(c, PLANE_EXECUTE, request.data, request.len, c->execute_ms, executed);
    resp_text_free(&request);
}

static void command_execute(struct server_client *c, const struct resp_word *words, unsigned n)
{
    execute(c, words + 1, n - 1);
}

// --- words of a request --------------------------------------------------------------------------

bool word_number(const struct resp_word *word, uint64_t max, uint64_t *value)
{
    char text[24], *end;
    if (!word->len || word->len >= sizeof(text) || word->ptr[0] < '0' || word->ptr[0] > '9')
        return false;
    memcpy(text, word->ptr, word->len);
    text[word->len] = '\0';
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    *value = v;
    return !errno && !*end && v <= max;
}

bool word_is(const struct resp_word *word, const char *text)
{
    return word->len == strlen(text) && strncasecmp(word->ptr, text, word->len) == 0;
}

bool word_copy(const struct resp_word *word, char *text, size_t size)
{
    if (word->len >= size || memchr(word->ptr, '\0', word->len))
        return false;
    memcpy(text, word->ptr, word->len);
    text[word->len] = '\0';
    return true;
}

// --- what needs no core --------------------------------------------------------------------------

static void command_status(struct server_client *c, const struct resp_word *words, unsigned n)
{
    (void)words;
    (void)n;
    report_status(&c->out, c->server);
}

static void command_cores(struct server_client *c, const struct resp_word *words, unsigned n)
{
    (void)words;
    (void)n;
    if (link_attached(c->server->link))
        report_cores(&c->out, c->server->link);
    else
        put_failure(c, LINK_GONE);
}

static void command_ping(struct server_client *c, const struct resp_word *words, unsigned n)
{
    if (n == 2)
        resp_put_bytes(&c->out, words[1].ptr, words[1].len);
    else
        resp_put_status(&c->out, "PONG");
}

static void command_hello(struct server_client *c, const struct resp_word *words, unsigned n)
{
    uint64_t version = (uint64_t)c->out.resp;
    if (n > 1 && (!word_number(&words[1], 3, &version) || version < 2)) {
        resp_put_error(&c->out, "NOPROTO unsupported protocol version");
        return;
    }
    c->out.resp = (int)version;
    resp_open(&c->out, '%');
    resp_field_string(&c->out, "server", "pollux-controlplane");
    resp_field_string(&c->out, "version", POLLUX_VERSION);
    resp_field_integer(&c->out, "proto", (int64_t)version);
    resp_close(&c->out);
}

// A limit of this connection, for the commands that follow.
static void command_timeout(struct server_client *c, const struct resp_word *words, unsigned n)
{
    uint64_t seconds;
    (void)n;
    if (!word_number(&words[1], EXECUTE_SECONDS_MAX, &seconds) || !seconds) {
        resp_put_error(&c->out, "ERR TIMEOUT takes seconds from 1 to %d", EXECUTE_SECONDS_MAX);
        return;
    }
    c->execute_ms = (unsigned)seconds * 1000;
    resp_put_status(&c->out, "OK");
}

static void command_quit(struct server_client *c, const struct resp_word *words, unsigned n)
{
    (void)words;
    (void)n;
    resp_put_status(&c->out, "OK");
    c->closing = true;
}

// The supervisor ends both planes; without one this does.
static void command_shutdown(struct server_client *c, const struct resp_word *words, unsigned n)
{
    (void)words;
    (void)n;
    struct server *server = c->server;
    int supervisor = server->supervisor_pid, data = link_data_pid(server->link);
    log_notice("Shutdown was asked through the control socket");
    if (supervisor && getppid() == supervisor) {
        kill(supervisor, SIGTERM);
    } else {
        if (data)
            kill(data, SIGTERM);
        server->stop = true;
    }
    resp_put_status(&c->out, "OK");
}

static void command_help(struct server_client *c, const struct resp_word *words, unsigned n);

static const struct command commands[] = {
    {"STATUS", 1, 1, command_status, "STATUS -- processes, memory, clients, rates, lease"},
    {"CORES", 1, 1, command_cores, "CORES -- what each polling core does"},
    {"NIC", 1, 1, command_nic, "NIC -- device, link, queues and drops, core by core"},
    {"CONNECTIONS", 1, 14, command_connections,
     "CONNECTIONS [cursor [COUNT n] [STATE name,…] [PEER address[/prefix]] [PEERPORT n] "
     "[LOCALPORT n] [CORE n]] -- a page of connections; next is 0 on the last"},
    {"NEIGHBOURS", 1, 1, command_neighbours,
     "NEIGHBOURS -- the tables of neighbours (ARP, neighbour discovery), core by core"},
    {"CAPTURE", 2, 5, command_capture,
     "CAPTURE START snaplen core|* filter | READ | STOP -- copies of frames; the filter is a "
     "program of classic BPF"},
    {"ICMPECHO", 6, 6, command_echo,
     "ICMPECHO address size seq timeout-ms core -- one echo, sent by that core's stack"},
    {"CONFIG", 2, SERVER_WORDS_MAX, execute,
     "CONFIG GET|SET|REWRITE|RESETSTAT … -- as on the port"},
    {"EXECUTE", 2, SERVER_WORDS_MAX, command_execute,
     "EXECUTE command [argument …] -- any command, with full rights"},
    {"TIMEOUT", 2, 2, command_timeout,
     "TIMEOUT seconds -- how long EXECUTE and CONFIG of this connection may take (30)"},
    {"PING", 1, 2, command_ping, "PING [text]"},
    {"HELLO", 1, 2, command_hello, "HELLO [2|3] -- choose the protocol"},
    {"SHUTDOWN", 1, 1, command_shutdown, "SHUTDOWN -- ends the server in order"},
    {"QUIT", 1, 1, command_quit, "QUIT"},
    {"HELP", 1, 1, command_help, "HELP"},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void command_help(struct server_client *c, const struct resp_word *words, unsigned n)
{
    (void)words;
    (void)n;
    resp_open(&c->out, '*');
    for (size_t i = 0; i < COMMANDS; i++)
        resp_put_status(&c->out, commands[i].help);
    resp_close(&c->out);
}

void command_run(struct server_client *c, const struct resp_word *words, unsigned n)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        const struct command *command = &commands[i];
        if (!word_is(&words[0], command->name))
            continue;
        if (n < command->words_min || n > command->words_max)
            resp_put_error(&c->out, "ERR wrong number of arguments for '%s' command",
                           command->name);
        else
            command->run(c, words, n);
        return;
    }
    resp_put_error(&c->out, "ERR unknown command '%.*s': the control socket knows what HELP lists",
                   words[0].len < 64 ? (int)words[0].len : 64, words[0].ptr);
}
