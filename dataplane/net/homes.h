// Stacks that share their addresses, one at each queue, act as one.
//
// A flow's home is the stack that opened it. Where a port puts a frame cannot be trusted, and what
// a peer's kernel does when it sends again even less; so each flow has a registrar as well: the
// stack that `stack_of` names, by a hash that all compute alike. A frame that finds no connection
// goes to the registrar before anything is answered. The registrar has the connection itself, or
// knows where it is, or knows that nobody has it. In the last case a frame that could open a
// connection goes back to the stack that asked, registered as the flow's home from then on: so two
// stacks never open the same flow, whichever way its SYNs come. Where the port does what the hash
// says, the registrar is the home, and nothing is ever sent.
//
// Registrations end with the connection (or its TIME_WAIT). A frame given to a home and the home's
// word that the flow has ended can pass each other. So the registrar counts what it gives to each
// stack and notes in a registration the count of the last frame; the word of the end carries how
// many the home has seen. If it has not seen the last one, the registration stays, and the home
// speaks again when it has. Stacks hear one another in order; frames may be lost, words may not.
#pragma once

#include "dataplane/net/internal.h"

bool homes_init(struct net *net);
void homes_free(struct net *net);

// A frame whose flow is not in this stack's table. True: it went to the stack that may know it (or
// was lost on the way), and nothing is answered. `opens`: it could open a connection here.
bool homes_pass(struct net *net, const struct frame *frame, const struct net_flow *flow,
                uint32_t hash, bool opens);
// An ICMP error about `flow`, which comes to the queue of whoever sent it: the same.
bool homes_pass_error(struct net *net, const struct frame *frame, const struct net_flow *flow);
// The flow is ours to open: we are its registrar, and no other stack has it.
bool homes_may_open(const struct net *net, const struct net_flow *flow);
// An entry left the table, and nothing takes its place.
void homes_end_flow(struct net *net, const struct net_flow *flow, uint8_t registrar);
static inline void homes_end(struct net *net, const struct net_flow_entry *e)
{
    if (likely(!e->registrar))
        return;
    struct net_flow flow = net_flow_of(e);
    homes_end_flow(net, &flow, e->registrar);
}
// What came of a flow that is registered: it is in the table, or has ended.
void homes_settle(struct net *net, const struct net_flow *flow, uint32_t hash, uint8_t registrar);
// Tells all other stacks, as far as there is room.
void homes_tell(struct net *net, const struct net_news *news);
// Shows them a frame that came to our queue alone.
void homes_show(struct net *net, const struct frame *frame);
