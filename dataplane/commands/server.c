// TIME, LOLWUT, SHUTDOWN.
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "common/outbuf.h"
#include "dataplane/commands/families.h"
#include "dataplane/commands/server.h"

void time_command(struct request *r)
{
    // The turn knows milliseconds only, and who asks for the time wants the microseconds.
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    reply_array(r->out, 2);
    reply_bulk_integer(r->out, now.tv_sec);
    reply_bulk_integer(r->out, now.tv_nsec / 1000);
}

// --- LOLWUT ------------------------------------------------------------------------------------

// A picture of the twins: two stars among others that no two calls show alike.
#define SKY_WIDTH 64
#define SKY_HEIGHT 12
#define SKY_STARS 40

static void draw_star(char sky[SKY_HEIGHT][SKY_WIDTH + 1], unsigned x, unsigned y, char c)
{
    sky[y % SKY_HEIGHT][x % SKY_WIDTH] = c;
}

void lolwut_command(struct request *r)
{
    int64_t version; // of the picture: understood, there is one
    if (r->argc >= 3 && request_is(r, 1, "version") && !request_integer(r, 2, &version))
        return;
    static const char kinds[] = "...'`.+*";
    char sky[SKY_HEIGHT][SKY_WIDTH + 1];
    for (unsigned y = 0; y < SKY_HEIGHT; y++)
        snprintf(sky[y], sizeof(sky[y]), "%*s", SKY_WIDTH, "");
    for (unsigned i = 0; i < SKY_STARS; i++) {
        uint64_t x = r->services->random(r->core);
        draw_star(sky, (unsigned)(x >> 32), (unsigned)(x >> 16), kinds[x % (sizeof(kinds) - 1)]);
    }
    // Castor and Pollux, and the rays of the brighter one.
    draw_star(sky, 24, 4, '*');
    draw_star(sky, 38, 6, '@');
    draw_star(sky, 36, 6, '-');
    draw_star(sky, 40, 6, '-');
    draw_star(sky, 38, 5, '|');
    draw_star(sky, 38, 7, '|');

    struct server_figures figures;
    r->services->server_figures(r->core, &figures);
    struct outbuf text;
    outbuf_init(&text);
    for (unsigned y = 0; y < SKY_HEIGHT; y++)
        text_add(&text.out, "%s\n", sky[y]);
    text_add(&text.out, "\nPollux %s. Redis ver. %s\n", figures.version, figures.redis_version);
    request_reply_text(r, &text);
}

// --- SHUTDOWN ----------------------------------------------------------------------------------

struct shutdown_options {
    bool save, nosave, now, force, abort;
};

static bool shutdown_parse(struct request *r, struct shutdown_options *o)
{
    for (int i = 1; i < r->argc; i++) {
        if (request_is(r, i, "nosave"))
            o->nosave = true;
        else if (request_is(r, i, "save"))
            o->save = true;
        else if (request_is(r, i, "now"))
            o->now = true;
        else if (request_is(r, i, "force"))
            o->force = true;
        else if (request_is(r, i, "abort"))
            o->abort = true;
        else
            return false;
    }
    bool others = o->save || o->nosave || o->now || o->force;
    return !(o->abort && others) && !(o->save && o->nosave);
}

// Nothing is answered when it succeeds: the connection closes. No shutdown waits for anything that
// ABORT could call off.
void shutdown_command(struct request *r)
{
    struct shutdown_options o = {0};
    if (!shutdown_parse(r, &o))
        request_error(r, ERR_SYNTAX);
    else if (o.abort)
        request_error(r, "ERR No shutdown in progress.");
    else if (!o.nosave && r->services->script_busy(r->core))
        request_error(r, r->services->script_busy(r->core));
    else
        r->services->shutdown(r);
}
