// Commands of the control socket that look into the cores' transport: CONNECTIONS, NIC, NEIGHBOURS,
// ICMPECHO.
// Cores answer with names and values; here they are put together and passed on.
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "controlplane/commands.h"
#include "controlplane/report.h"

#define CONNECTIONS_PAGE 100
#define CONNECTIONS_PAGE_MAX 500 // rows of one reply: about 1 MB
// Questions to cores for one page. A filter that nearly nothing passes ends the page early, with
// fewer rows and a cursor that goes on: whoever asked is not left waiting.
#define CONNECTIONS_ASKS_MAX 256
// A cursor over all cores: the core's number above the cursor within it.
#define CURSOR_CORE_SHIFT 48
#define CURSOR_IN_CORE ((UINT64_C(1) << CURSOR_CORE_SHIFT) - 1)

// --- CONNECTIONS ---------------------------------------------------------------------------------

static void connections_replied(void *context, enum link_outcome outcome,
                                enum plane_message_kind kind, const uint8_t *data, size_t len);

static void connections_ask(struct server_client *c)
{
    c->parts++;
    command_ask(c, PLANE_CONNECTIONS, &c->question, sizeof(c->question), ASK_TIMEOUT_MS,
                connections_replied);
}

static void connections_end(struct server_client *c, uint64_t cursor)
{
    resp_close(&c->text);
    resp_field_integer(&c->text, "next", (int64_t)cursor);
    resp_close(&c->text);
    command_finish(c);
}

static void connections_replied(void *context, enum link_outcome outcome,
                                enum plane_message_kind kind, const uint8_t *data, size_t len)
{
    struct server_client *c = context;
    c->request = 0;
    uint64_t next;
    uint32_t rows;
    if (outcome != LINK_REPLIED || kind != PLANE_CONNECTIONS ||
        !report_rows(&c->text, data, len, &next, &rows) || next > CURSOR_IN_CORE) {
        command_fail(c, outcome, kind, data, len);
        return;
    }
    c->max -= rows < c->max ? rows : c->max;
    unsigned core = c->core;
    if (!next && !c->one_core && core + 1 < link_cores(c->server->link))
        core++;
    else if (!next)
        core = PLANE_CORES_MAX;
    if (core == PLANE_CORES_MAX) {
        connections_end(c, 0);
    } else if (!c->max || c->parts >= CONNECTIONS_ASKS_MAX) {
        connections_end(c, ((uint64_t)core << CURSOR_CORE_SHIFT) | next);
    } else {
        c->core = core;
        c->question.cursor = next;
        c->question.max = c->max;
        connections_ask(c);
    }
}

// ADDRESS or ADDRESS/PREFIX.
static bool read_peer(struct plane_question *q, const struct resp_word *word)
{
    char text[INET6_ADDRSTRLEN + 8], *slash;
    uint64_t prefix;
    if (!word_copy(word, text, sizeof(text)))
        return false;
    if ((slash = strchr(text, '/')))
        *slash++ = '\0';
    q->family = strchr(text, ':') ? 6 : 4;
    unsigned bits = q->family == 6 ? 128 : 32;
    if (inet_pton(q->family == 6 ? AF_INET6 : AF_INET, text, q->remote) != 1)
        return false;
    struct resp_word digits = {slash, slash ? strlen(slash) : 0};
    if (!slash)
        prefix = bits;
    else if (!word_number(&digits, bits, &prefix))
        return false;
    q->prefix = (uint8_t)prefix;
    // Prefix 0 is any address of the family: `family` stays.
    return true;
}

// The options behind the cursor. NULL, or what is wrong with them.
static const char *read_filter(struct server_client *c, const struct resp_word *words, unsigned n)
{
    struct plane_question *q = &c->question;
    for (unsigned i = 0; i < n; i += 2) {
        uint64_t value;
        if (i + 1 == n)
            return "syntax error";
        const struct resp_word *name = &words[i], *word = &words[i + 1];
        if (word_is(name, "COUNT")) {
            if (!word_number(word, UINT32_MAX, &value) || !value)
                return "COUNT takes a number from 1 on";
            c->max = value < CONNECTIONS_PAGE_MAX ? (uint32_t)value : CONNECTIONS_PAGE_MAX;
        } else if (word_is(name, "STATE")) {
            if (!word_copy(word, q->states, sizeof(q->states)))
                return "STATE takes names of states with a comma between them";
        } else if (word_is(name, "PEER")) {
            if (!read_peer(q, word))
                return "a peer is ADDRESS or ADDRESS/PREFIX, as 10.0.0.1 or 2001:db8::/32";
        } else if (word_is(name, "PEERPORT") || word_is(name, "LOCALPORT")) {
            if (!word_number(word, UINT16_MAX, &value) || !value)
                return "a port is a number from 1 to 65535";
            *(word_is(name, "PEERPORT") ? &q->remote_port : &q->local_port) = (uint16_t)value;
        } else if (word_is(name, "CORE")) {
            if (!word_number(word, PLANE_CORES_MAX - 1, &value))
                return "CORE takes the number of a core";
            if (c->core && c->core != value)
                return "the cursor is another core's";
            c->core = (unsigned)value;
            c->one_core = true;
        } else {
            return "syntax error";
        }
    }
    return NULL;
}

void command_connections(struct server_client *c, const struct resp_word *words, unsigned n)
{
    uint64_t cursor = 0;
    if (n > 1 && !word_number(&words[1], INT64_MAX, &cursor)) {
        resp_put_error(&c->out, "ERR invalid cursor");
        return;
    }
    c->core = (unsigned)(cursor >> CURSOR_CORE_SHIFT);
    c->max = CONNECTIONS_PAGE;
    c->parts = 0;
    c->one_core = false;
    c->question = (struct plane_question){.cursor = cursor & CURSOR_IN_CORE};
    const char *wrong = n > 2 ? read_filter(c, words + 2, n - 2) : NULL;
    if (wrong) {
        resp_put_error(&c->out, "ERR %s: see HELP", wrong);
        return;
    }
    c->question.max = c->max;
    c->text.resp = c->out.resp;
    resp_open(&c->text, '%');
    resp_field_open(&c->text, "connections", '*');
    connections_ask(c);
}

// --- NIC, NEIGHBOURS -----------------------------------------------------------------------------

// Every core's answer, one after the other, as an array.
static void cores_replied(struct server_client *c, enum link_outcome outcome,
                          enum plane_message_kind kind, enum plane_message_kind expected,
                          const uint8_t *data, size_t len, link_reply_fn *again, uint32_t about)
{
    c->request = 0;
    if (outcome != LINK_REPLIED || kind != expected ||
        !command_pass(&c->text, data, len, expected == PLANE_NEIGHBOURS)) {
        command_fail(c, outcome, kind, data, len);
        return;
    }
    if (++c->core < link_cores(c->server->link)) {
        command_ask(c, expected, &about, sizeof(about), ASK_TIMEOUT_MS, again);
        return;
    }
    resp_close(&c->text);
    command_finish(c);
}

static void nic_replied(void *context, enum link_outcome outcome, enum plane_message_kind kind,
                        const uint8_t *data, size_t len)
{
    // What a counter means, the first core has told.
    cores_replied(context, outcome, kind, PLANE_NIC, data, len, nic_replied, 0);
}

static void neighbours_replied(void *context, enum link_outcome outcome,
                               enum plane_message_kind kind, const uint8_t *data, size_t len)
{
    cores_replied(context, outcome, kind, PLANE_NEIGHBOURS, data, len, neighbours_replied, 0);
}

static void ask_cores(struct server_client *c, enum plane_message_kind kind, link_reply_fn *reply)
{
    uint32_t about = 1;
    c->core = 0;
    c->text.resp = c->out.resp;
    resp_open(&c->text, '*');
    command_ask(c, kind, &about, sizeof(about), ASK_TIMEOUT_MS, reply);
}

void command_nic(struct server_client *c, const struct resp_word *words, unsigned n)
{
    (void)words;
    (void)n;
    ask_cores(c, PLANE_NIC, nic_replied);
}

// What one core learns of neighbours is told to all, but each has a table and timers of its own.
void command_neighbours(struct server_client *c, const struct resp_word *words, unsigned n)
{
    (void)words;
    (void)n;
    ask_cores(c, PLANE_NEIGHBOURS, neighbours_replied);
}

// --- ICMPECHO ------------------------------------------------------------------------------------

#define ECHO_TIMEOUT_MS_MAX 60000u

static void echo_replied(void *context, enum link_outcome outcome, enum plane_message_kind kind,
                         const uint8_t *data, size_t len)
{
    struct server_client *c = context;
    c->request = 0;
    if (outcome != LINK_REPLIED || kind != PLANE_PING ||
        !command_pass(&c->text, data, len, false)) {
        command_fail(c, outcome, kind, data, len);
        return;
    }
    command_finish(c);
}

void command_echo(struct server_client *c, const struct resp_word *words, unsigned n)
{
    uint64_t size, seq, timeout_ms, core;
    char address[INET6_ADDRSTRLEN + 1];
    struct plane_ping ask = {0};
    (void)n;
    if (!word_copy(&words[1], address, sizeof(address)) ||
        (inet_pton(AF_INET, address, ask.address) != 1 &&
         inet_pton(AF_INET6, address, ask.address) != 1)) {
        resp_put_error(&c->out, "ERR '%.*s' is no IPv4 or IPv6 address (names are not looked up)",
                       words[1].len < 64 ? (int)words[1].len : 64, words[1].ptr);
        return;
    }
    if (!word_number(&words[2], UINT16_MAX, &size) || !word_number(&words[3], UINT16_MAX, &seq) ||
        !word_number(&words[4], ECHO_TIMEOUT_MS_MAX, &timeout_ms) || !timeout_ms ||
        !word_number(&words[5], PLANE_CORES_MAX - 1, &core)) {
        resp_put_error(&c->out, "ERR syntax error: see HELP");
        return;
    }
    ask.family = strchr(address, ':') ? 6 : 4;
    ask.size = (uint32_t)size;
    ask.seq = (uint16_t)seq;
    ask.timeout_us = (uint32_t)timeout_ms * 1000;
    c->core = (unsigned)core;
    c->text.resp = c->out.resp;
    command_ask(c, PLANE_PING, &ask, sizeof(ask), (unsigned)timeout_ms + ASK_TIMEOUT_MS,
                echo_replied);
}
