#include "bench/cluster.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/resp_text.h"

static bool same_node(const struct endpoint *a, const struct endpoint *b)
{
    return a->family == b->family && a->port == b->port &&
           memcmp(a->addr, b->addr, a->family == 4 ? 4 : sizeof(a->addr)) == 0;
}

// The index of a node, which is added when it is new; CLUSTER_NOBODY when there are too many.
static unsigned add_node(struct cluster *c, const struct endpoint *node)
{
    for (unsigned i = 0; i < c->n_nodes; i++)
        if (same_node(&c->nodes[i], node))
            return i;
    if (c->n_nodes == CLUSTER_NODES_MAX)
        return CLUSTER_NOBODY;
    c->nodes[c->n_nodes] = *node;
    return c->n_nodes++;
}

static bool read_address(const char *text, struct endpoint *node)
{
    if (inet_pton(AF_INET, text, node->addr) == 1)
        node->family = 4;
    else if (inet_pton(AF_INET6, text, node->addr) == 1)
        node->family = 6;
    return node->family != 0;
}

// Puts the address of `host` into `node`. An empty host and "?" stand for the node that was asked.
static bool find_address(const struct cluster *c, const char *host, const struct endpoint *asked,
                         struct endpoint *node)
{
    if (!*host || strcmp(host, "?") == 0) {
        node->family = asked->family;
        memcpy(node->addr, asked->addr, sizeof(node->addr));
        return asked->family != 0;
    }
    return read_address(host, node) || (c->resolve && c->resolve(host, node));
}

// --- CLUSTER SLOTS -------------------------------------------------------------------------------

static bool is_text(const struct resp_value *v)
{
    return (v->type == '$' || v->type == '+') && !v->null && strlen(v->text) == v->len;
}

// The address that a node announces beside its name: a map, or in RESP2 a flat array, behind its
// ID.
static const char *announced(const struct resp_value *node)
{
    if (node->n < 4 || !node->items[3].items)
        return NULL;
    const struct resp_value *more = &node->items[3];
    for (size_t i = 0; i + 1 < more->n; i += 2)
        if (is_text(&more->items[i]) && is_text(&more->items[i + 1]) &&
            strcmp(more->items[i].text, "ip") == 0)
            return more->items[i + 1].text;
    return NULL;
}

// [host, port, ID, metadata]: false when it is none, or one line of more use is in `error`.
static bool read_node(const struct cluster *c, const struct resp_value *v,
                      const struct endpoint *asked, struct endpoint *node, char *error,
                      size_t error_size)
{
    if (v->type != '*' || v->n < 2 || v->items[1].type != ':' ||
        (!v->items[0].null && !is_text(&v->items[0])))
        return false;
    const char *host = v->items[0].null ? "" : v->items[0].text, *ip = announced(v);
    int64_t port = v->items[1].integer;
    if (port < 1 || port > UINT16_MAX || strlen(host) >= CLUSTER_HOST_MAX)
        return false;
    *node = (struct endpoint){.port = (uint16_t)port};
    if (read_address(host, node) || (*host && ip && read_address(ip, node)) ||
        find_address(c, host, asked, node))
        return true;
    if (*host)
        snprintf(error, error_size,
                 "the cluster knows a node as '%s', which has no address here: "
                 "add it to /etc/hosts, or set cluster-preferred-endpoint-type ip",
                 host);
    else
        snprintf(error, error_size,
                 "the cluster does not tell its nodes' addresses: name the server by -h and -p");
    return false;
}

// [first slot, last slot, primary, replicas…]
static bool read_range(struct cluster *c, const struct resp_value *v, const struct endpoint *asked,
                       char *error, size_t error_size)
{
    if (v->type != '*' || v->n < 3 || v->items[0].type != ':' || v->items[1].type != ':')
        return false;
    int64_t first = v->items[0].integer, last = v->items[1].integer;
    struct endpoint node;
    if (first < 0 || first > last || last >= SLOTS ||
        !read_node(c, &v->items[2], asked, &node, error, error_size))
        return false;
    unsigned index = add_node(c, &node);
    if (index == CLUSTER_NOBODY) {
        snprintf(error, error_size, "the cluster has more than %d nodes", CLUSTER_NODES_MAX);
        return false;
    }
    for (int64_t slot = first; slot <= last; slot++)
        c->owner[slot] = (uint16_t)index;
    return true;
}

static bool read_map(struct cluster *c, const struct resp_value *v, const struct endpoint *asked,
                     char *error, size_t error_size)
{
    if (v->type == '-' || v->type == '!') {
        snprintf(error, error_size,
                 "the server refuses CLUSTER SLOTS (%.200s): leave out --cluster", v->text);
        return false;
    }
    if (v->type != '*' || v->null)
        return false;
    if (v->n == 0) {
        snprintf(error, error_size,
                 "no node of the cluster has slots: make it with redis-cli --cluster create");
        return false;
    }
    for (unsigned slot = 0; slot < SLOTS; slot++)
        c->owner[slot] = CLUSTER_NOBODY;
    for (size_t i = 0; i < v->n; i++)
        if (!read_range(c, &v->items[i], asked, error, error_size))
            return false;
    return true;
}

bool cluster_read(struct cluster *c, const uint8_t *reply, size_t len, const struct endpoint *asked,
                  char *error, size_t error_size)
{
    snprintf(error, error_size, "the server's reply to CLUSTER SLOTS makes no sense");
    struct cluster *read = malloc(sizeof(*read));
    if (!read) {
        snprintf(error, error_size, "out of memory");
        return false;
    }
    *read = *c;
    struct resp_value *v = resp_value_read((const char *)reply, len);
    bool good = v && read_map(read, v, asked, error, error_size);
    if (good) {
        *c = *read;
        error[0] = 0;
    }
    resp_value_free(v);
    free(read);
    // What came from outside may hold anything: it is to be one line.
    for (char *p = error; *p; p++)
        if ((unsigned char)*p < ' ')
            *p = ' ';
    return good;
}

// --- redirections --------------------------------------------------------------------------------

// Digits at *p, at most `max`, ended by `end`; moves past them.
static bool number(const char **p, unsigned max, char end, unsigned *value)
{
    const char *from = *p;
    for (*value = 0; **p >= '0' && **p <= '9'; ++*p) {
        *value = *value * 10 + (unsigned)(**p - '0');
        if (*value > max)
            return false;
    }
    return *p != from && **p == end;
}

// "192.0.2.1:6379", "2001:db8::1:6379", "[2001:db8::1]:6379", "name:6379", ":6379"
static bool read_target(const struct cluster *c, const char *text, const struct endpoint *asked,
                        struct endpoint *node)
{
    char host[CLUSTER_HOST_MAX];
    const char *colon = strrchr(text, ':');
    if (!colon)
        return false;
    const char *digits = colon + 1;
    size_t len = (size_t)(colon - text);
    unsigned port;
    if (!number(&digits, UINT16_MAX, 0, &port) || port == 0 || len >= sizeof(host))
        return false;
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    memcpy(host, text, len);
    host[len] = 0;
    if (strpbrk(host, " \t\r\n[]"))
        return false;
    *node = (struct endpoint){.port = (uint16_t)port};
    return find_address(c, host, asked, node);
}

enum cluster_redirect cluster_redirect(struct cluster *c, const char *line,
                                       const struct endpoint *asked, unsigned *node)
{
    enum cluster_redirect kind;
    if (strncmp(line, "-MOVED ", 7) == 0) {
        kind = CLUSTER_MOVED;
        line += 7;
    } else if (strncmp(line, "-ASK ", 5) == 0) {
        kind = CLUSTER_ASK;
        line += 5;
    } else {
        return CLUSTER_NONE;
    }
    unsigned slot;
    struct endpoint target;
    if (!number(&line, SLOTS - 1, ' ', &slot) || !read_target(c, line + 1, asked, &target))
        return CLUSTER_NONE;
    *node = add_node(c, &target);
    if (*node == CLUSTER_NOBODY)
        return CLUSTER_NONE;
    if (kind == CLUSTER_MOVED)
        c->owner[slot] = (uint16_t)*node;
    return kind;
}
