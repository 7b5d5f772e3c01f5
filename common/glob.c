// Glob matching with one point to go back to: the last `*`. Everything but `*` matches exactly one
// byte, so an earlier `*` never needs to be tried again: what it could gain, the later one gains
// too.
#include "common/glob.h"

static int fold(int c, bool nocase)
{
    return nocase && c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

// Matches `c` with the class behind the `[` at p[0]. `*used` becomes the class's length in the
// pattern. Bytes compare as signed characters, because Redis's do: [a-\xff] is the range from -1 to
// 'a'.
static bool match_class(const char *p, size_t len, signed char c, bool nocase, size_t *used)
{
    size_t i = 1;
    bool negated = i < len && p[i] == '^', found = false;
    if (negated)
        i++;
    for (; i < len && p[i] != ']'; i++) {
        if (p[i] == '\\' && len - i >= 2) {
            i++;
            if (p[i] == c)
                found = true;
        } else if (len - i >= 3 && p[i + 1] == '-') {
            int low = (signed char)p[i], high = (signed char)p[i + 2];
            if (low > high) {
                int swap = low;
                low = high;
                high = swap;
            }
            int folded = fold(c, nocase);
            if (folded >= fold(low, nocase) && folded <= fold(high, nocase))
                found = true;
            i += 2;
        } else if (fold((signed char)p[i], nocase) == fold(c, nocase)) {
            found = true;
        }
    }
    *used = i < len ? i + 1 : len;
    return found != negated;
}

// Matches one byte with the element at p[0], which is not `*`.
static inline bool match_one(const char *p, size_t len, char c, bool nocase, size_t *used)
{
    switch (p[0]) {
    case '?':
        *used = 1;
        return true;
    case '[':
        return match_class(p, len, (signed char)c, nocase, used);
    case '\\':
        if (len >= 2) {
            *used = 2;
            return fold(p[1], nocase) == fold(c, nocase);
        }
        break;
    }
    *used = 1;
    return fold(p[0], nocase) == fold(c, nocase);
}

bool glob_match(const char *pattern, size_t pattern_len, const char *text, size_t text_len,
                bool nocase)
{
    // Redis does not look at the pattern when there is no text: "**" does not match "".
    if (text_len == 0)
        return pattern_len == 0 || (pattern_len == 1 && pattern[0] == '*');
    size_t p = 0, t = 0;
    size_t star = 0, star_text = 0; // behind the last `*`, and where its rest is being tried
    bool starred = false;

    while (t < text_len) {
        if (p < pattern_len && pattern[p] == '*') {
            while (p < pattern_len && pattern[p] == '*')
                p++;
            if (p == pattern_len)
                return true;
            starred = true;
            star = p;
            star_text = t;
            continue;
        }
        size_t used;
        if (p < pattern_len && match_one(pattern + p, pattern_len - p, text[t], nocase, &used)) {
            p += used;
            t++;
            continue;
        }
        if (!starred)
            return false;
        p = star;
        t = ++star_text;
    }
    while (p < pattern_len && pattern[p] == '*')
        p++;
    return p == pattern_len;
}
