#include "tests/packets/packets.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static void skip(struct text *t)
{
    while (*t->p == ' ' || *t->p == '\t')
        t->p++;
}

bool text_end(struct text *t)
{
    skip(t);
    return *t->p == 0 || *t->p == '#';
}

bool text_word(struct text *t, char *word, size_t size, const char *stop)
{
    if (text_end(t))
        return false;
    size_t n = 0;
    while (*t->p && !isspace((unsigned char)*t->p) && !strchr(stop, *t->p) && n + 1 < size)
        word[n++] = *t->p++;
    word[n] = 0;
    return n > 0;
}

bool text_take(struct text *t, const char *word)
{
    skip(t);
    size_t n = strlen(word);
    if (strncmp(t->p, word, n) != 0)
        return false;
    char last = word[n - 1], next = t->p[n];
    if ((isalnum((unsigned char)last)) &&
        (isalnum((unsigned char)next) || next == '-' || next == '_'))
        return false;
    t->p += n;
    return true;
}

bool text_number(struct text *t, uint64_t *n)
{
    skip(t);
    if (!isdigit((unsigned char)*t->p))
        return false;
    char *end;
    *n = strtoull(t->p, &end, *t->p == '0' && t->p[1] == 'x' ? 16 : 10);
    t->p = end;
    return true;
}

bool text_seconds(struct text *t, uint64_t *us)
{
    skip(t);
    if (!isdigit((unsigned char)*t->p) && *t->p != '.')
        return false;
    uint64_t whole = 0, part = 0, unit = US;
    while (isdigit((unsigned char)*t->p))
        whole = whole * 10 + (uint64_t)(*t->p++ - '0');
    if (*t->p == '.' && t->p[1] != '.') {
        t->p++;
        while (isdigit((unsigned char)*t->p)) {
            if (unit > 1) {
                unit /= 10;
                part += (uint64_t)(*t->p - '0') * unit;
            }
            t->p++;
        }
    }
    *us = whole * US + part;
    return true;
}

bool text_address(struct text *t, struct address *a)
{
    char word[64];
    struct text at = *t;
    if (!text_word(&at, word, sizeof(word), "/],>"))
        return false;
    *a = (struct address){0};
    if (inet_pton(AF_INET, word, a->bytes) == 1)
        a->family = 4;
    else if (inet_pton(AF_INET6, word, a->bytes) == 1)
        a->family = 6;
    else
        return false;
    *t = at;
    return true;
}

bool text_mac(struct text *t, uint8_t mac[6])
{
    char word[32];
    struct text at = *t;
    int n;
    if (!text_word(&at, word, sizeof(word), "],>") ||
        sscanf(word, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx%n", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
               &mac[5], &n) != 6 ||
        word[n])
        return false;
    *t = at;
    return true;
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int text_hex(struct text *t, uint8_t *bytes, uint8_t *mask, unsigned max)
{
    unsigned n = 0;
    for (skip(t); *t->p && *t->p != ']' && *t->p != ',' && *t->p != '>' && *t->p != '#'; skip(t)) {
        if (n == max)
            return -1;
        if (mask && t->p[0] == '*' && t->p[1] == '*') {
            bytes[n] = mask[n] = 0;
        } else {
            int high = nibble(t->p[0]), low = high < 0 ? -1 : nibble(t->p[1]);
            if (low < 0)
                return -1;
            bytes[n] = (uint8_t)(high << 4 | low);
            if (mask)
                mask[n] = 0xff;
        }
        t->p += 2;
        n++;
    }
    return (int)n;
}

void address_format(const struct address *a, char *to, size_t size)
{
    if (!a->family ||
        !inet_ntop(a->family == 4 ? AF_INET : AF_INET6, a->bytes, to, (socklen_t)size))
        snprintf(to, size, "none");
}

bool address_equal(const struct address *a, const struct address *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, a->family == 4 ? 4 : 16) == 0;
}
