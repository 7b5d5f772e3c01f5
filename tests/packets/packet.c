// A packet in the script's language: reading it, writing it, and comparing what was expected with
// what was seen.
#include "tests/packets/packets.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char flag_letters[9] = "FSRP.UEW"; // in the order of their bits

struct name {
    const char *name;
    unsigned value;
};

static const struct name icmp_types[] = {
    {"echo-reply", 0}, {"unreachable", 3},    {"quench", 4},     {"redirect", 5},
    {"echo", 8},       {"time-exceeded", 11}, {"parameter", 12}, {0}};
static const struct name icmp_codes[] = {{"net", 0},         {"host", 1},    {"protocol", 2},
                                         {"port", 3},        {"too-big", 4}, {"admin-net", 9},
                                         {"admin-host", 10}, {"admin", 13},  {0}};
static const struct name icmp6_types[] = {
    {"unreachable", 1}, {"too-big", 2},      {"time-exceeded", 3}, {"parameter", 4},
    {"echo", 128},      {"echo-reply", 129}, {"rs", 133},          {"ra", 134},
    {"ns", 135},        {"na", 136},         {"redirect", 137},    {0}};
static const struct name icmp6_codes[] = {{"route", 0},   {"admin", 1}, {"scope", 2},
                                          {"address", 3}, {"port", 4},  {"policy", 5},
                                          {"reject", 6},  {0}};
static const struct name option_names[] = {{"eol", 0},    {"nop", 1},  {"mss", 2}, {"wscale", 3},
                                           {"sackOK", 4}, {"sack", 5}, {"TS", 8},  {0}};

static bool take_name(struct text *t, const struct name *names, unsigned *value)
{
    for (; names->name; names++)
        if (text_take(t, names->name)) {
            *value = names->value;
            return true;
        }
    uint64_t n;
    if (text_number(t, &n)) {
        *value = (unsigned)n;
        return true;
    }
    return false;
}

static const char *name_of(const struct name *names, unsigned value)
{
    for (; names->name; names++)
        if (names->value == value)
            return names->name;
    return NULL;
}

static bool bad(char *error, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool bad(char *error, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, size, format, args);
    va_end(args);
    return false;
}

// --- reading -------------------------------------------------------------------------------------

static bool number32(struct text *t, uint32_t *n)
{
    uint64_t v;
    if (!text_number(t, &v) || v > UINT32_MAX)
        return false;
    *n = (uint32_t)v;
    return true;
}

// `=N` is a number of the wire, others count from the beginning of the connection; `-N` lies
// before.
static bool relative32(struct text *t, uint32_t *n, bool *raw)
{
    *raw = text_take(t, "=");
    bool minus = !*raw && text_take(t, "-");
    if (!number32(t, n))
        return false;
    if (minus)
        *n = 0 - *n;
    return true;
}

static bool parse_attribute(struct text *t, struct script_packet *p)
{
    static const struct name ecn[] = {{"notect", 0}, {"ect1", 1}, {"ect0", 2}, {"ce", 3}, {0}};
    for (const struct name *e = ecn; e->name; e++)
        if (text_take(t, e->name)) {
            p->ecn = (uint8_t)e->value;
            p->given |= GIVEN_ECN;
            return true;
        }
    static const struct name damages[] = {{"badsum", DAMAGE_L4_SUM},
                                          {"ipbadsum", DAMAGE_IP_SUM},
                                          {"partial", DAMAGE_PARTIAL_SUM},
                                          {"port-says-good", DAMAGE_PORT_SAYS_GOOD},
                                          {"port-says-bad", DAMAGE_PORT_SAYS_BAD},
                                          {0}};
    for (const struct name *d = damages; d->name; d++)
        if (text_take(t, d->name)) {
            p->damage |= d->value;
            return true;
        }
    uint64_t n;
    if (text_take(t, "df") || text_take(t, "nodf")) {
        p->df = t->p[-3] != 'o';
        p->given |= GIVEN_DF;
        return true;
    }
    if (text_take(t, "mf")) {
        p->frag |= 0x2000;
        p->given |= GIVEN_FRAG;
        return true;
    }
    if (text_take(t, "from"))
        return p->given |= GIVEN_SRC, text_address(t, &p->src);
    if (text_take(t, "to"))
        return p->given |= GIVEN_DST, text_address(t, &p->dst);
    if (text_take(t, "smac"))
        return p->given |= GIVEN_SMAC, text_mac(t, p->smac);
    if (text_take(t, "dmac"))
        return p->given |= GIVEN_DMAC, text_mac(t, p->dmac);
    if (text_take(t, "ipopt")) {
        int got = text_hex(t, p->ip_options, NULL, sizeof(p->ip_options));
        p->n_ip_options = (uint8_t)got;
        return got > 0 && got % 4 == 0;
    }
    if (text_take(t, "patch")) { // patch OFFSET HEX: bytes of the frame before its sums are made
        if (p->n_patches == 4 || !text_number(t, &n))
            return false;
        int got = text_hex(t, p->patch[p->n_patches], NULL, 16);
        p->patch_at[p->n_patches] = (uint16_t)n;
        p->patch_len[p->n_patches++] = (uint8_t)got;
        return got > 0;
    }
    static const struct name numbers[] = {{"ttl", GIVEN_TTL},
                                          {"tos", GIVEN_TOS},
                                          {"frag", GIVEN_FRAG},
                                          {"vlan", GIVEN_VLAN},
                                          {"sport", GIVEN_SPORT},
                                          {"dport", GIVEN_DPORT},
                                          {"tso", GIVEN_TSO},
                                          {"fill", GIVEN_FILL},
                                          {"doff", GIVEN_DOFF},
                                          {"iplen", GIVEN_IP_LEN},
                                          {"cut", 0},
                                          {"pad", 0},
                                          {0}};
    for (const struct name *k = numbers; k->name; k++) {
        if (!text_take(t, k->name))
            continue;
        if (!text_number(t, &n) || n > UINT16_MAX)
            return false;
        p->given |= k->value;
        switch (k->value) {
        case GIVEN_TTL:
            p->ttl = (uint8_t)n;
            break;
        case GIVEN_TOS:
            p->tos = (uint8_t)n;
            break;
        case GIVEN_FRAG:
            p->frag |= (uint16_t)(n / 8);
            break;
        case GIVEN_VLAN:
            p->vlan = (uint16_t)n;
            break;
        case GIVEN_SPORT:
            p->sport = (uint16_t)n;
            break;
        case GIVEN_DPORT:
            p->dport = (uint16_t)n;
            break;
        case GIVEN_TSO:
            p->tso = (uint16_t)n;
            break;
        case GIVEN_FILL:
            p->fill = (uint8_t)n;
            break;
        case GIVEN_DOFF:
            p->doff = (uint32_t)n;
            break;
        case GIVEN_IP_LEN:
            p->ip_len = (uint16_t)n;
            break;
        default:
            *(k->name[0] == 'c' ? &p->cut : &p->pad) = (uint16_t)n;
        }
        return true;
    }
    return false;
}

// One value of an option: a number, `*`, or with `=` one that is not relative.
static bool option_value(struct text *t, struct tcp_option *o)
{
    if (o->n == 8)
        return false;
    if (text_take(t, "*"))
        o->any[o->n] = true;
    else if (text_take(t, "last")) // the timestamp of the stack that was seen last
        o->any[o->n] = true;
    else if (!relative32(t, &o->value[o->n], &o->raw_value[o->n]))
        return false;
    o->n++;
    return true;
}

static bool parse_option(struct text *t, struct tcp_option *o)
{
    o->absent = text_take(t, "!");
    unsigned kind;
    if (text_take(t, "raw") || text_take(t, "kind")) {
        uint64_t n = TCP_OPTION_RAW;
        if (t->p[-1] == 'd' && !text_number(t, &n))
            return false;
        o->kind = (uint8_t)n;
        int got = text_hex(t, o->raw, NULL, sizeof(o->raw));
        o->raw_len = (uint8_t)got;
        return got >= 0;
    }
    if (!take_name(t, option_names, &kind))
        return false;
    o->kind = (uint8_t)kind;
    if (o->absent)
        return true;
    switch (kind) {
    case 2:
    case 3:
        return option_value(t, o);
    case 5:
        do {
            if (!option_value(t, o) || !text_take(t, ":") || !option_value(t, o))
                return false;
        } while (*t->p == ' ' && o->n < 8);
        return true;
    case 8:
        return text_take(t, "val") && option_value(t, o) && text_take(t, "ecr") &&
               option_value(t, o);
    default:
        return true;
    }
}

static bool parse_options(struct text *t, struct script_packet *p, char *error, size_t size)
{
    p->given |= GIVEN_OPTIONS;
    while (!text_take(t, ">")) {
        if (text_take(t, "...")) {
            p->options_more = true;
        } else {
            if (p->n_options == OPTIONS_MAX || !parse_option(t, &p->option[p->n_options]))
                return bad(error, size, "a TCP option that is not understood at '%s'", t->p);
            p->n_options++;
        }
        if (!text_take(t, ",") && *t->p != '>' && text_end(t))
            return bad(error, size, "the options want a '>' at their end");
    }
    return true;
}

static bool parse_tcp(struct text *t, bool expected, struct script_packet *p, char *error,
                      size_t size)
{
    char word[64];
    if (!text_word(t, word, sizeof(word), ""))
        return bad(error, size, "a packet is missing");
    if (strcmp(word, "*") != 0) {
        p->given |= GIVEN_FLAGS;
        for (const char *k = word; *k; k++) {
            const char *at = strchr(flag_letters, *k);
            if (*k == 'p') // may be pushed or not
                p->push_any = true;
            else if (*k == '-')
                continue;
            else if (!at)
                return bad(error, size, "'%s' is no packet: flags are letters of %s", word,
                           flag_letters);
            else
                p->flags |= (uint8_t)(1u << (at - flag_letters));
        }
    }
    if (!text_take(t, "*")) {
        if (!relative32(t, &p->seq, &p->seq_raw))
            return bad(error, size, "a sequence number is missing at '%s'", t->p);
        p->given |= GIVEN_SEQ;
    }
    uint32_t end = p->seq;
    bool raw, has_end = text_take(t, ":");
    if (has_end && !relative32(t, &end, &raw))
        return bad(error, size, "the end of the segment is missing at '%s'", t->p);
    p->len = has_end ? end - p->seq : 0;
    if (text_take(t, "(")) {
        uint32_t len;
        if (text_take(t, "*")) {
            p->given &= ~(uint32_t)GIVEN_LEN;
        } else {
            if (!number32(t, &len) || (has_end && len != p->len))
                return bad(error, size, "the length is not that of %u:%u", p->seq, end);
            p->len = len;
            p->given |= GIVEN_LEN;
        }
        if (!text_take(t, ")"))
            return bad(error, size, "a ')' is missing at '%s'", t->p);
    } else if (p->given & GIVEN_SEQ) {
        p->given |= GIVEN_LEN;
    }
    if (p->len > 65535)
        return bad(error, size, "a segment of %u bytes", p->len);
    while (!text_end(t)) {
        if (text_take(t, "ack")) {
            if (text_take(t, "*") && expected)
                continue;
            if (!relative32(t, &p->ack, &p->ack_raw))
                return bad(error, size, "ack wants a number");
            p->given |= GIVEN_ACK;
        } else if (text_take(t, "win")) {
            if (text_take(t, "*") && expected)
                continue;
            if (!number32(t, &p->win) || p->win > 65535)
                return bad(error, size, "win wants a number below 65536: the field as it stands");
            p->given |= GIVEN_WIN;
        } else if (text_take(t, "urg")) {
            if (!number32(t, &p->urg))
                return bad(error, size, "urg wants a number");
            p->given |= GIVEN_URG;
        } else if (text_take(t, "<")) {
            if (!parse_options(t, p, error, size))
                return false;
        } else {
            return bad(error, size, "not understood: '%s'", t->p);
        }
    }
    if ((p->flags & TH_ACK) && !(p->given & GIVEN_ACK) && !expected)
        return bad(error, size, "a segment with '.' wants its ack");
    return true;
}

static bool parse_arp(struct text *t, struct script_packet *p, char *error, size_t size)
{
    p->kind = PACKET_ARP;
    p->given |= GIVEN_TYPE;
    if (text_take(t, "request")) {
        p->type = 1;
        if (!text_take(t, "who-has") || !text_address(t, &p->target) || !text_take(t, "tell") ||
            !text_address(t, &p->sender))
            return bad(error, size, "arp request who-has ADDRESS tell ADDRESS [sha MAC]");
        p->given |= GIVEN_TARGET;
        if (text_take(t, "sha")) {
            p->given |= GIVEN_LLA;
            return text_mac(t, p->lla) || bad(error, size, "sha wants a MAC");
        }
        return true;
    }
    if (text_take(t, "reply")) {
        p->type = 2;
        p->given |= GIVEN_LLA;
        if (!text_address(t, &p->sender) || !text_take(t, "is-at") || !text_mac(t, p->lla))
            return bad(error, size, "arp reply ADDRESS is-at MAC [to ADDRESS]");
        if (text_take(t, "to")) {
            p->given |= GIVEN_TARGET;
            return text_address(t, &p->target) || bad(error, size, "to wants an address");
        }
        return true;
    }
    return bad(error, size, "arp request or arp reply");
}

static bool parse_icmp(struct text *t, struct script_packet *p, char *error, size_t size)
{
    bool six = p->kind == PACKET_ICMP6;
    unsigned type, code;
    if (!take_name(t, six ? icmp6_types : icmp_types, &type))
        return bad(error, size, "an ICMP message that is not understood: '%s'", t->p);
    p->type = (uint8_t)type;
    p->given |= GIVEN_TYPE;
    bool unreachable = type == (six ? 1 : 3);
    if (unreachable) {
        if (!take_name(t, six ? icmp6_codes : icmp_codes, &code))
            return bad(error, size, "unreachable wants what: net, host, port …");
        p->code = (uint8_t)code;
        p->given |= GIVEN_CODE;
    }
    uint32_t a, b;
    while (!text_end(t)) {
        uint64_t n;
        bool raw;
        if (text_take(t, "code") && text_number(t, &n)) {
            p->code = (uint8_t)n;
            p->given |= GIVEN_CODE;
        } else if (text_take(t, "mtu") && number32(t, &a)) {
            p->value = p->mtu = a;
            p->given |= type == 134 && six ? GIVEN_MTU : GIVEN_VALUE;
        } else if (text_take(t, "id") && number32(t, &a) && text_take(t, "seq") &&
                   number32(t, &b)) {
            p->value = a << 16 | (b & 0xffff);
            p->given |= GIVEN_VALUE;
        } else if (text_take(t, "len") && number32(t, &p->len)) {
            p->given |= GIVEN_LEN;
        } else if (text_take(t, "quote")) {
            p->given |= GIVEN_QUOTE;
            p->quote_len = 8;
            if (text_take(t, "last"))
                p->quote_last = true;
            else if (!relative32(t, &p->quote, &raw))
                return bad(error, size, "quote wants a sequence number, or 'last'");
            if (text_take(t, "bytes") && !number32(t, &p->quote_len))
                return bad(error, size, "bytes wants a number");
        } else if (text_take(t, "target") && text_address(t, &p->target)) {
            p->given |= GIVEN_TARGET;
        } else if (text_take(t, "lla") && text_mac(t, p->lla)) {
            p->given |= GIVEN_LLA;
        } else if (text_take(t, "flags")) { // of NA: R router, S solicited, O override
            char word[8];
            if (!text_word(t, word, sizeof(word), ""))
                return bad(error, size, "flags wants letters of RSO");
            for (const char *k = word; *k; k++)
                p->value |= *k == 'R'   ? 0x80000000u
                            : *k == 'S' ? 0x40000000u
                            : *k == 'O' ? 0x20000000u
                                        : 0;
            p->given |= GIVEN_VALUE;
        } else if (text_take(t, "lifetime") && number32(t, &a)) { // of RA, seconds
            p->value |= 64u << 24 | (a & 0xffff);
            p->given |= GIVEN_VALUE;
        } else if (text_take(t, "prefix") && text_address(t, &p->target) && text_take(t, "/") &&
                   text_number(t, &n) && text_take(t, "valid") && number32(t, &p->valid_s)) {
            p->prefix_len = (uint8_t)n;
            p->given |= GIVEN_PREFIX;
        } else {
            return bad(error, size, "not understood: '%s'", t->p);
        }
    }
    return true;
}

bool packet_parse(struct stage *g, struct flow *f, struct text *t, bool expected,
                  struct script_packet *p, char *error, size_t size)
{
    (void)g;
    memset(p, 0, offsetof(struct script_packet, raw));
    p->raw_len = 0;
    p->data = NULL;
    p->fill = 0;
    if (text_take(t, "["))
        while (!text_take(t, "]")) {
            if (!parse_attribute(t, p))
                return bad(error, size, "an attribute that is not understood at '%s'", t->p);
            text_take(t, ",");
        }
    if (text_take(t, "arp"))
        return parse_arp(t, p, error, size);
    bool icmp = text_take(t, "icmp");
    if (icmp || text_take(t, "icmp6")) {
        p->kind = icmp ? PACKET_ICMP : PACKET_ICMP6;
        return parse_icmp(t, p, error, size);
    }
    if (text_take(t, "udp")) {
        p->kind = PACKET_UDP;
        p->given |= GIVEN_LEN;
        return (text_take(t, "len") && number32(t, &p->len)) || bad(error, size, "udp len N");
    }
    uint64_t n;
    if (text_take(t, "ip")) {
        p->kind = PACKET_IP;
        p->given |= GIVEN_LEN;
        if (!text_take(t, "proto") || !text_number(t, &n) || !text_take(t, "len") ||
            !number32(t, &p->len))
            return bad(error, size, "ip proto N len N");
        p->protocol = (uint8_t)n;
        return true;
    }
    if (text_take(t, "raw")) {
        p->kind = PACKET_RAW;
        int got = text_hex(t, p->raw, p->mask, RAW_MAX);
        p->raw_len = (unsigned)got;
        return got >= 0 || bad(error, size, "raw wants bytes in hex, ** for any");
    }
    p->kind = PACKET_TCP;
    if (!f->used)
        return bad(error, size, "an unknown flow");
    return parse_tcp(t, expected, p, error, size);
}

// --- writing -------------------------------------------------------------------------------------

struct writer {
    char *to;
    size_t left;
};

static void add(struct writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct writer *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(w->to, w->left, format, args);
    va_end(args);
    if (n > 0) {
        size_t took = (size_t)n < w->left ? (size_t)n : w->left - 1;
        w->to += took;
        w->left -= took;
    }
}

static void add_option(struct writer *w, const struct flow *f, bool ours,
                       const struct tcp_option *o)
{
    const char *name = name_of(option_names, o->kind);
    if (!name || o->raw_len) {
        add(w, "kind %u", o->kind);
        for (unsigned i = 0; i < o->raw_len; i++)
            add(w, " %02x", o->raw[i]);
        return;
    }
    add(w, "%s", name);
    if (o->kind == 8) {
        uint32_t mine = f && f->stamps_known ? f->stamp_base : 0;
        uint32_t val = o->value[0] - (ours ? mine : 0), ecr = o->value[1];
        if (!ours && ecr)
            ecr -= mine;
        add(w, " val %u ecr %u", val, ecr);
    } else if (o->kind == 5) {
        uint32_t base = f ? (ours ? f->their_isn : f->our_isn) : 0;
        for (unsigned i = 0; i + 1 < o->n; i += 2)
            add(w, " %u:%u", o->value[i] - base, o->value[i + 1] - base);
    } else if (o->n) {
        add(w, " %u", o->value[0]);
    }
}

static void format_tcp(struct stage *g, struct writer *w, const struct script_packet *p)
{
    const struct flow *f = stage_flow_of(g, p);
    bool ours = f && address_equal(&p->src, &f->ours) && p->sport != f->their_port;
    char letters[16];
    unsigned n = 0;
    for (unsigned i = 0; i < 8; i++)
        if (p->flags >> i & 1)
            letters[n++] = flag_letters[i];
    if (!n)
        letters[n++] = '-';
    letters[n] = 0;
    uint32_t seq = p->seq, ack = p->ack;
    if (f && (ours ? f->isn_known : true))
        seq -= ours ? f->our_isn : f->their_isn;
    if (f && (ours ? true : f->isn_known))
        ack -= ours ? f->their_isn : f->our_isn;
    add(w, "%s %u:%u(%u)", letters, seq, seq + p->len, p->len);
    if (p->flags & TH_ACK)
        add(w, " ack %u", ack);
    add(w, " win %u", p->win);
    if (p->urg)
        add(w, " urg %u", p->urg);
    if (p->n_options) {
        add(w, " <");
        for (unsigned i = 0; i < p->n_options; i++) {
            if (i)
                add(w, ",");
            add_option(w, f, ours, &p->option[i]);
        }
        add(w, ">");
    }
    if (!f)
        add(w, "  # ports %u > %u", p->sport, p->dport);
    else if (f->name != 'A')
        add(w, "  # flow %c", f->name);
}

void packet_format(struct stage *g, const struct script_packet *p, char *to, size_t size)
{
    struct writer w = {.to = to, .left = size};
    char a[64], b[64];
    *to = 0;
    static const char *const ecn[] = {"", "ect1", "ect0", "ce"};
    if (p->kind != PACKET_ARP && p->kind != PACKET_RAW && (p->ecn || (p->frag & 0x3fff))) {
        add(&w, "[%s", ecn[p->ecn]);
        if (p->frag & 0x2000)
            add(&w, " mf");
        if (p->frag & 0x1fff)
            add(&w, " frag %u", (p->frag & 0x1fff) * 8);
        add(&w, "] ");
    }
    switch (p->kind) {
    case PACKET_TCP:
        format_tcp(g, &w, p);
        break;
    case PACKET_ARP:
        address_format(&p->target, a, sizeof(a));
        address_format(&p->sender, b, sizeof(b));
        if (p->type == 1)
            add(&w, "arp request who-has %s tell %s", a, b);
        else
            add(&w, "arp reply %s is-at %02x:%02x:%02x:%02x:%02x:%02x to %s", b, p->lla[0],
                p->lla[1], p->lla[2], p->lla[3], p->lla[4], p->lla[5], a);
        break;
    case PACKET_ICMP:
    case PACKET_ICMP6: {
        bool six = p->kind == PACKET_ICMP6;
        const char *type = name_of(six ? icmp6_types : icmp_types, p->type);
        add(&w, "%s ", six ? "icmp6" : "icmp");
        if (type)
            add(&w, "%s", type);
        else
            add(&w, "%u", p->type);
        bool unreachable = p->type == (six ? 1 : 3);
        const char *code = unreachable ? name_of(six ? icmp6_codes : icmp_codes, p->code) : NULL;
        if (code)
            add(&w, " %s", code);
        else
            add(&w, " code %u", p->code);
        if (p->given & GIVEN_TARGET) {
            address_format(&p->target, a, sizeof(a));
            add(&w, " target %s", a);
        }
        if (p->given & GIVEN_LLA)
            add(&w, " lla %02x:%02x:%02x:%02x:%02x:%02x", p->lla[0], p->lla[1], p->lla[2],
                p->lla[3], p->lla[4], p->lla[5]);
        address_format(&p->src, a, sizeof(a));
        address_format(&p->dst, b, sizeof(b));
        add(&w, " len %u  # value %#x, %s > %s", p->len, p->value, a, b);
        break;
    }
    case PACKET_UDP:
        add(&w, "udp len %u", p->len);
        break;
    case PACKET_IP:
        add(&w, "ip proto %u len %u", p->protocol, p->len);
        break;
    case PACKET_RAW:
        add(&w, "raw");
        for (unsigned i = 0; i < p->raw_len && i < 64; i++)
            add(&w, " %02x", p->raw[i]);
        if (p->raw_len > 64)
            add(&w, "  # %u bytes in all", p->raw_len);
        break;
    }
    if (!p->sums_good && p->kind != PACKET_ARP && p->kind != PACKET_RAW)
        add(&w, "  # WRONG CHECKSUM");
}

// --- comparing -----------------------------------------------------------------------------------

static bool differs(char *why, size_t size, const char *what, uint32_t expected, uint32_t seen)
{
    return bad(why, size, "%s is %u, expected %u", what, seen, expected);
}

static const struct tcp_option *option_find(const struct script_packet *p, unsigned kind)
{
    for (unsigned i = 0; i < p->n_options; i++)
        if (p->option[i].kind == kind)
            return &p->option[i];
    return NULL;
}

static bool match_option(struct flow *f, const struct tcp_option *e, const struct tcp_option *s,
                         char *why, size_t size)
{
    const char *name = name_of(option_names, e->kind);
    if (e->raw_len && (e->raw_len != s->raw_len || memcmp(e->raw, s->raw, e->raw_len) != 0))
        return bad(why, size, "option %u has other bytes", e->kind);
    if (e->n != s->n)
        return bad(why, size, "option %s has %u values, expected %u", name ? name : "?", s->n,
                   e->n);
    for (unsigned i = 0; i < e->n; i++) {
        if (e->any[i])
            continue;
        uint32_t seen = s->value[i];
        if (e->kind == 5 && !e->raw_value[i])
            seen -= f->their_isn;
        if (e->kind == 8 && i == 0 && !e->raw_value[i])
            seen -= f->stamp_base;
        if (seen != e->value[i])
            return bad(why, size, "value %u of option %s is %u, expected %u", i + 1,
                       name ? name : "?", seen, e->value[i]);
    }
    return true;
}

static bool match_options(struct flow *f, const struct script_packet *e,
                          const struct script_packet *s, char *why, size_t size)
{
    for (unsigned i = 0; i < e->n_options; i++) {
        const struct tcp_option *o = &e->option[i];
        if (o->kind <= 1)
            continue; // padding and order are free
        const struct tcp_option *seen = option_find(s, o->kind);
        const char *name = name_of(option_names, o->kind);
        if (o->absent) {
            if (seen)
                return bad(why, size, "option %s was not expected", name ? name : "?");
            continue;
        }
        if (!seen)
            return bad(why, size, "option %s is missing", name ? name : "?");
        if (!match_option(f, o, seen, why, size))
            return false;
    }
    if (e->options_more)
        return true;
    for (unsigned i = 0; i < s->n_options; i++) {
        const struct tcp_option *o = option_find(e, s->option[i].kind);
        const char *name = name_of(option_names, s->option[i].kind);
        if (s->option[i].kind > 1 && !o)
            return bad(why, size, "option %s (kind %u) was not expected", name ? name : "?",
                       s->option[i].kind);
    }
    return true;
}

static bool match_tcp(struct flow *f, const struct script_packet *e, const struct script_packet *s,
                      char *why, size_t size)
{
    uint16_t sport = e->given & GIVEN_SPORT ? e->sport : f->our_port;
    uint16_t dport = e->given & GIVEN_DPORT ? e->dport : f->their_port;
    if (!sport && s->dport == dport)
        sport = f->our_port = s->sport;
    if (s->sport != sport)
        return differs(why, size, "the source port", sport, s->sport);
    if (s->dport != dport)
        return differs(why, size, "the destination port", dport, s->dport);
    uint8_t care = e->push_any ? (uint8_t)~TH_PSH : 0xff;
    if ((e->given & GIVEN_FLAGS) && (e->flags & care) != (s->flags & care))
        return bad(why, size, "other flags");
    if ((s->flags & TH_SYN) && !f->isn_known) {
        f->our_isn = s->seq;
        f->isn_known = true;
    }
    uint32_t seq = s->seq - (e->seq_raw || !f->isn_known ? 0 : f->our_isn);
    if ((e->given & GIVEN_SEQ) && seq != e->seq)
        return differs(why, size, "the sequence number", e->seq, seq);
    if ((e->given & GIVEN_LEN) && s->len != e->len)
        return differs(why, size, "the length", e->len, s->len);
    uint32_t ack = s->ack - (e->ack_raw ? 0 : f->their_isn);
    if ((e->given & GIVEN_ACK) && ack != e->ack)
        return differs(why, size, "ack", e->ack, ack);
    if (!(s->flags & TH_ACK) && s->ack)
        return differs(why, size, "the ack field without its flag", 0, s->ack);
    if ((e->given & GIVEN_WIN) && s->win != e->win)
        return differs(why, size, "win", e->win, s->win);
    if ((e->given & GIVEN_URG) ? s->urg != e->urg : s->urg != 0)
        return differs(why, size, "the urgent pointer", e->urg, s->urg);
    if ((e->given & GIVEN_TSO) && s->tso != e->tso)
        return differs(why, size, "the segment size left to the port", e->tso, s->tso);
    const struct tcp_option *stamps = option_find(s, 8);
    if (stamps) {
        if (!f->stamps_known) {
            f->stamp_base = stamps->value[0];
            f->stamps_known = true;
        }
        f->stamp_last = stamps->value[0];
    }
    if ((e->given & GIVEN_OPTIONS) && !match_options(f, e, s, why, size))
        return false;
    if (s->len && f->isn_known)
        for (uint32_t i = 0; i < s->len; i++)
            if (s->data[i] != pattern_byte(true, s->seq - f->our_isn - 1 + i))
                return bad(why, size, "byte %u of the payload is not what was written", i);
    return true;
}

static bool match_quote(struct stage *g, const struct script_packet *e,
                        const struct script_packet *s, char *why, size_t size)
{
    if (!e->quote_last)
        return bad(why, size, "an expected message can only quote 'last'");
    if (s->len < e->quote_len || s->len > g->last_in_len)
        return bad(why, size, "quotes %u bytes of the packet's %u", s->len, g->last_in_len);
    if (memcmp(s->data, g->last_in, s->len) != 0)
        return bad(why, size, "quotes another packet");
    return true;
}

static bool match_icmp(struct stage *g, const struct script_packet *e,
                       const struct script_packet *s, char *why, size_t size)
{
    if (s->type != e->type)
        return differs(why, size, "the type", e->type, s->type);
    if (s->code != e->code)
        return differs(why, size, "the code", e->code, s->code);
    if ((e->given & GIVEN_VALUE) && s->value != e->value)
        return bad(why, size, "the word behind the sum is %#x, expected %#x", s->value, e->value);
    if ((e->given & GIVEN_LEN) && s->len != e->len)
        return differs(why, size, "the length", e->len, s->len);
    if ((e->given & GIVEN_TARGET) && !address_equal(&e->target, &s->target))
        return bad(why, size, "another target");
    if ((e->given & GIVEN_LLA) && (!(s->given & GIVEN_LLA) || memcmp(e->lla, s->lla, 6) != 0))
        return bad(why, size, "another link-layer address");
    if (e->given & GIVEN_QUOTE)
        return match_quote(g, e, s, why, size);
    bool echo =
        e->kind == PACKET_ICMP ? e->type == 0 || e->type == 8 : e->type == 128 || e->type == 129;
    for (uint32_t i = 0; echo && i < s->len; i++)
        if (s->data[i] != pattern_byte(false, i))
            return bad(why, size, "byte %u of the payload differs", i);
    return true;
}

static bool match_network(struct flow *f, const struct script_packet *e,
                          const struct script_packet *s, char *why, size_t size)
{
    static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
    char a[64];
    const struct address *src = e->given & GIVEN_SRC ? &e->src : &f->ours;
    const struct address *dst = e->given & GIVEN_DST ? &e->dst : &f->theirs;
    bool discovery = e->kind == PACKET_ICMP6 && e->type >= 133 && e->type <= 137;
    if ((!discovery || (e->given & GIVEN_SRC)) && !address_equal(src, &s->src)) {
        address_format(&s->src, a, sizeof(a));
        return bad(why, size, "it comes from %s", a);
    }
    if ((!discovery || (e->given & GIVEN_DST)) && !address_equal(dst, &s->dst)) {
        address_format(&s->dst, a, sizeof(a));
        return bad(why, size, "it goes to %s", a);
    }
    if (memcmp(s->smac, our_mac, 6) != 0)
        return bad(why, size, "another source MAC");
    if ((e->given & GIVEN_DMAC) && memcmp(s->dmac, e->dmac, 6) != 0)
        return bad(why, size, "another destination MAC");
    if ((e->given & GIVEN_VLAN) && s->vlan != e->vlan)
        return differs(why, size, "the VLAN", e->vlan, s->vlan);
    if ((e->given & GIVEN_ECN) && s->ecn != e->ecn)
        return differs(why, size, "the ECN field", e->ecn, s->ecn);
    if ((e->given & GIVEN_TTL) && s->ttl != e->ttl)
        return differs(why, size, "the time to live", e->ttl, s->ttl);
    if ((e->given & GIVEN_DF) && s->df != e->df)
        return differs(why, size, "DF", e->df, s->df);
    if (s->frag & 0x3fff)
        return bad(why, size, "it is a fragment");
    if (!s->sums_good)
        return bad(why, size, "a wrong checksum");
    return true;
}

bool packet_match(struct stage *g, struct flow *f, const struct script_packet *e,
                  const struct script_packet *s, char *why, size_t size)
{
    if (e->kind == PACKET_RAW) {
        // `seen` is decoded; the bytes are there as well.
        if (s->raw_len != e->raw_len)
            return differs(why, size, "the length of the frame", e->raw_len, s->raw_len);
        for (unsigned i = 0; i < e->raw_len; i++)
            if ((s->raw[i] & e->mask[i]) != e->raw[i])
                return bad(why, size, "byte %u is %02x, expected %02x", i, s->raw[i], e->raw[i]);
        return true;
    }
    if (e->kind != s->kind)
        return bad(why, size, "another kind of packet");
    if (e->kind == PACKET_ARP) {
        if (e->type != s->type || !address_equal(&e->sender, &s->sender) ||
            ((e->given & GIVEN_TARGET) && !address_equal(&e->target, &s->target)) ||
            ((e->given & GIVEN_LLA) && memcmp(e->lla, s->lla, 6) != 0) ||
            ((e->given & GIVEN_DMAC) && memcmp(e->dmac, s->dmac, 6) != 0))
            return bad(why, size, "another ARP packet");
        return true;
    }
    if (!match_network(f, e, s, why, size))
        return false;
    switch (e->kind) {
    case PACKET_TCP:
        return match_tcp(f, e, s, why, size);
    case PACKET_ICMP:
    case PACKET_ICMP6:
        return match_icmp(g, e, s, why, size);
    default:
        if ((e->given & GIVEN_LEN) && s->len != e->len)
            return differs(why, size, "the length", e->len, s->len);
        return true;
    }
}
