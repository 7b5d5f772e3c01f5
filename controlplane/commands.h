// What the files of the control socket's commands share: words of a request, and asking cores.
#pragma once

#include "common/plane.h"
#include "controlplane/link.h"
#include "controlplane/server.h"

// A core answers in one turn. Two seconds are a core that hangs, or a machine that does.
#define ASK_TIMEOUT_MS 2000u

bool word_is(const struct resp_word *word, const char *text);
// A decimal number of at most `max`.
bool word_number(const struct resp_word *word, uint64_t max, uint64_t *value);
// Copies the word, terminated. False when it is longer than `size` allows or has a NUL in it.
bool word_copy(const struct resp_word *word, char *text, size_t size);

// Asks core c->core; the client is busy until command_finish or command_fail.
void command_ask(struct server_client *c, enum plane_message_kind kind, const void *data,
                 size_t len, unsigned timeout_ms, link_reply_fn *reply);
// Ends a command that asked: what was gathered in c->text is its reply.
void command_finish(struct server_client *c);
// Ends a command that asked with the error that `outcome` (or the core's PLANE_ERROR) stands for.
void command_fail(struct server_client *c, enum link_outcome outcome, enum plane_message_kind kind,
                  const uint8_t *data, size_t len);
// Appends a reply of a core, in RESP3, to `t` in the protocol of `t`; `spread`: of an array its
// items. False when it is none.
bool command_pass(struct resp_text *t, const uint8_t *data, size_t len, bool spread);

// observe.c
void command_connections(struct server_client *c, const struct resp_word *words, unsigned n);
void command_nic(struct server_client *c, const struct resp_word *words, unsigned n);
void command_neighbours(struct server_client *c, const struct resp_word *words, unsigned n);
void command_echo(struct server_client *c, const struct resp_word *words, unsigned n);
// capture.c
void command_capture(struct server_client *c, const struct resp_word *words, unsigned n);
// The client is going, and its capture with it.
void command_capture_abandon(struct server_client *c);
