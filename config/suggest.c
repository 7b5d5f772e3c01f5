// The option that a mistyped name probably means.
#include "config/internal.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

enum {
    NAME_MAX_COMPARED = 48, // no option's name is longer
    BEGINNING_MIN = 4,      // shorter beginnings say little
};

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

// Slips between two names: letters missing, extra, changed, or two neighbours swapped (optimal
// string alignment).
static unsigned distance(const char *a, const char *b)
{
    unsigned rows[3][NAME_MAX_COMPARED + 1]; // of the last three letters of `a`, in turn
    unsigned a_len = (unsigned)strlen(a), b_len = (unsigned)strlen(b);
    assert(a_len <= NAME_MAX_COMPARED && b_len <= NAME_MAX_COMPARED);
    for (unsigned j = 0; j <= b_len; j++)
        rows[0][j] = j;
    for (unsigned i = 1; i <= a_len; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i - 1) % 3], *above2 = rows[(i + 1) % 3];
        int c = tolower((unsigned char)a[i - 1]);
        row[0] = i;
        for (unsigned j = 1; j <= b_len; j++) {
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (c != b[j - 1]));
            if (i > 1 && j > 1 && c == b[j - 2] && tolower((unsigned char)a[i - 2]) == b[j - 1])
                row[j] = least(row[j], above2[j - 2] + 1);
        }
    }
    return rows[a_len % 3][b_len];
}

const char *config_suggest(const char *name)
{
    unsigned n;
    const struct config_option *options = config_options(&n);
    const char *best = NULL;
    if (strlen(name) > NAME_MAX_COMPARED)
        return NULL;
    unsigned best_distance =
        (unsigned)strlen(name) / 3 + 1; // fewer slips than a third of the name, or one
    for (unsigned i = 0; i < n; i++) {
        const char *names[] = {options[i].name, options[i].alias};
        for (unsigned k = 0; k < 2 && names[k]; k++) {
            // A name broken off is one slip, whatever is missing.
            unsigned d = strncasecmp(name, names[k], strlen(name)) || strlen(name) < BEGINNING_MIN
                             ? distance(name, names[k])
                             : 1;
            // Of equally near names the shorter one.
            if (d < best_distance ||
                (best && d == best_distance && strlen(names[k]) < strlen(best))) {
                best_distance = d;
                best = names[k];
            }
        }
    }
    return best;
}
