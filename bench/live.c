#include "bench/live.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bench/live_draw.h"
#include "bench/show.h"

#define TERMINAL STDERR_FILENO
#define WIDTH_DEFAULT 80
#define HEIGHT_DEFAULT 24
// To a file or a pipe a line is not rewritten but added, this often.
#define PLAIN_SECONDS 1.0

#define ENTER "\033[?1049h\033[?25l" // the alternate screen, without a cursor
#define LEAVE "\033[?25h\033[?1049l"

struct live {
    const struct options *options;
    bool terminal, screen;
    double plain_at; // seconds of the phase at which the last line was added
    struct live_state state;
};

// --- the terminal, which must be left as it was
// ---------------------------------------------------

static volatile sig_atomic_t entered;

static const int ending[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGABRT, SIGSEGV,
                             SIGBUS, SIGFPE, SIGILL,  SIGPIPE, SIGXCPU, SIGTSTP};
#define N_ENDING (sizeof(ending) / sizeof(ending[0]))
static bool ours[N_ENDING];

// Safe in a signal handler. A terminal that does not take it is past help.
static void say(const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(TERMINAL, text, len);
        if (n < 0 && errno != EINTR)
            return;
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
}

static void leave(void)
{
    if (!entered)
        return;
    entered = 0;
    say(LEAVE, sizeof(LEAVE) - 1);
}

static void enter(void)
{
    entered = 1;
    say(ENTER, sizeof(ENTER) - 1);
}

static void on_signal(int number);

static bool catch (int number)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_NODEFER};
    return sigaction(number, &action, NULL) == 0;
}

// Leaves the screen, and then lets the signal do what it would have done.
static void on_signal(int number)
{
    int kept = errno;
    bool was = entered;
    leave();
    signal(number, SIG_DFL);
    raise(number);
    // Only SIGTSTP comes back, when the process is continued.
    catch (number);
    if (was)
        enter();
    errno = kept;
}

// Signals that somebody handles are theirs: they end the program in order, and live_close is
// called.
static void guard(void)
{
    static bool registered;
    if (!registered)
        atexit(leave);
    registered = true;
    for (unsigned i = 0; i < N_ENDING; i++) {
        struct sigaction present;
        ours[i] = sigaction(ending[i], NULL, &present) == 0 && !(present.sa_flags & SA_SIGINFO) &&
                  present.sa_handler == SIG_DFL && catch (ending[i]);
    }
}

static void unguard(void)
{
    for (unsigned i = 0; i < N_ENDING; i++)
        if (ours[i])
            signal(ending[i], SIG_DFL);
}

static void size_of(unsigned *width, unsigned *height)
{
    struct winsize size;
    bool known = ioctl(TERMINAL, TIOCGWINSZ, &size) == 0;
    *width = known && size.ws_col ? size.ws_col : WIDTH_DEFAULT;
    *height = known && size.ws_row ? size.ws_row : HEIGHT_DEFAULT;
}

// --- the view ------------------------------------------------------------------------------------

struct live *live_open(const struct options *o)
{
    bool terminal = isatty(TERMINAL);
    if (o->live == LIVE_OFF || (o->live == LIVE_AUTO && (!terminal || o->quiet)))
        return NULL;
    struct live *l = calloc(1, sizeof(*l));
    if (!l) // the test matters more than its view
        return NULL;
    l->options = o;
    l->terminal = terminal;
    const char *term = getenv("TERM");
    l->screen = o->live == LIVE_SCREEN && terminal && !(term && !strcmp(term, "dumb"));
    live_reset(&l->state);
    if (l->screen) {
        guard();
        enter();
    }
    return l;
}

static void show_line(struct live *l, const struct progress *p)
{
    char text[LIVE_LINE_MAX], all[LIVE_LINE_MAX + 16];
    unsigned width, height;
    size_of(&width, &height);
    if (!l->terminal) {
        if (p->seconds >= l->plain_at && p->seconds < l->plain_at + PLAIN_SECONDS)
            return;
        l->plain_at = p->seconds;
        live_line(p, LIVE_WIDTH_MAX, text);
        say(all, (size_t)snprintf(all, sizeof(all), "%s\n", text));
        return;
    }
    live_line(p, width > 1 ? width - 1 : 1, text); // the last column would wrap on some terminals
    say(all, (size_t)snprintf(all, sizeof(all), "\r%s\033[K", text));
}

static void show_screen(struct live *l, const struct progress *p)
{
    char *text = NULL, *all = NULL;
    size_t size = 0, all_size = 0;
    unsigned width, height;
    size_of(&width, &height);
    FILE *to = open_memstream(&text, &size);
    if (!to)
        return;
    live_screen(to, &l->state, l->options, p, width, height > 1 ? height - 1 : 1, show_utf8());
    // Each line clears what stood behind it, and the last what stood below: nothing flickers.
    if (fclose(to) == 0 && (to = open_memstream(&all, &all_size))) {
        fputs("\033[H", to);
        for (const char *c = text; *c; c++)
            if (*c == '\n')
                fputs("\033[K\r\n", to);
            else
                putc(*c, to);
        fputs("\033[J", to);
        if (fclose(to) == 0)
            say(all, all_size);
        free(all);
    }
    free(text);
}

void live_show(void *live, const struct progress *p)
{
    struct live *l = live;
    if (!l)
        return;
    live_note(&l->state, p);
    if (l->screen)
        show_screen(l, p);
    else
        show_line(l, p);
}

void live_close(struct live *l)
{
    if (!l)
        return;
    if (l->screen) {
        leave();
        unguard();
    } else if (l->terminal) {
        say("\r\033[K", 4);
    }
    free(l);
}
