// The report is written by a signal handler, in whatever state the process is. So it takes no
// memory and no lock, formats with nothing but numbers and strings, and looks at other parts'
// memory in sections: what faults there is left out, and the next section follows. What hangs is
// ended by an alarm.
#include "dataplane/core/crash.h"

#include <assert.h>
#include <elf.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <ucontext.h>
#include <unistd.h>

#include "common/memory.h"
#include "dataplane/access/access.h"
#include "dataplane/core/script.h"
#include "dataplane/script/script.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OTHERS_HANDLERS true
#else
#define OTHERS_HANDLERS false
#endif

#define REPORT_BYTES 4096
#define HANDLER_STACK_BYTES (64u << 10)
#define FRAMES_MAX 100
#define STACK_WORDS 16
#define ARGS_SHOWN 32
#define KEY_SHOWN 24 // bytes of a key; of other arguments only the length is told
// A report that takes longer hangs.
#define REPORT_SECONDS 10
// Stops a core while another one reports.
#define SIGNAL_PARK SIGUSR2

static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

static struct server *served;
static _Thread_local struct core *this_core;
static _Atomic pid_t crashing;                     // the thread that reports; 0: none
static volatile sig_atomic_t crashed_by;           // its signal
static sigjmp_buf section;                         // where what faults within a section goes on
static volatile sig_atomic_t in_section;           // of the thread that reports
static char reason[256];                           // of an assertion or a panic
static _Atomic uint64_t watchdog_us;               // 0: off
static _Atomic uint64_t stall_us[PLANE_CORES_MAX]; // when the watchdog spoke of a core last

// --- writing -------------------------------------------------------------------------------------

struct report {
    int fd;
    size_t n;
    char text[REPORT_BYTES];
};

static void report_flush(struct report *r)
{
    for (size_t done = 0; done < r->n;) {
        ssize_t n = write(r->fd, r->text + done, r->n - done);
        if (n <= 0 && errno != EINTR)
            break;
        done += n > 0 ? (size_t)n : 0;
    }
    r->n = 0;
}

static void say(struct report *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct report *r, const char *format, ...)
{
    for (int again = 0; again < 2; again++) {
        va_list args;
        va_start(args, format);
        int n = vsnprintf(r->text + r->n, sizeof(r->text) - r->n, format, args);
        va_end(args);
        if (n >= 0 && (size_t)n < sizeof(r->text) - r->n) {
            r->n += (size_t)n;
            return;
        }
        report_flush(r);
    }
}

// Bytes of others in quotes, those that do not print as \xNN.
static void say_bytes(struct report *r, const uint8_t *bytes, size_t len, size_t most)
{
    say(r, "'");
    for (size_t i = 0; i < len && i < most; i++) {
        uint8_t b = bytes[i];
        if (b < ' ' || b > '~' || b == '\'' || b == '\\')
            say(r, "\\x%02x", b);
        else
            say(r, "%c", b);
    }
    say(r, len > most ? "'... (%zu bytes)" : "'", len);
}

static void say_prefix(struct report *r)
{
    char prefix[LOG_PREFIX_MAX];
    log_crash_prefix(prefix);
    say(r, "%s", prefix);
}

static const char *signal_name(int number)
{
    switch (number) {
    case SIGSEGV:
        return "SIGSEGV";
    case SIGBUS:
        return "SIGBUS";
    case SIGFPE:
        return "SIGFPE";
    case SIGILL:
        return "SIGILL";
    default:
        return "SIGABRT";
    }
}

// --- the stack -----------------------------------------------------------------------------------

// Names of our own functions, static ones included, from the program's file.
struct symbols {
    const Elf64_Sym *at;
    size_t n;
    const char *names;
    size_t names_len;
    uintptr_t base; // to be added to their values
};

extern const char __executable_start[], etext[]; // the linker's

static bool is_ours(uintptr_t address)
{
    return address >= (uintptr_t)__executable_start && address < (uintptr_t)etext;
}

// The file stays mapped: the process ends.
static void symbols_find(struct symbols *s)
{
    *s = (struct symbols){0};
    struct stat st;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    size_t size = fstat(fd, &st) ? 0 : (size_t)st.st_size;
    const uint8_t *file =
        size < sizeof(Elf64_Ehdr) ? MAP_FAILED : mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (file == MAP_FAILED)
        return;
    const Elf64_Ehdr *head = (const Elf64_Ehdr *)file;
    const Elf64_Shdr *parts = (const Elf64_Shdr *)(file + head->e_shoff);
    if (head->e_shoff > size || size - head->e_shoff < head->e_shnum * sizeof(*parts))
        return;
    for (unsigned i = 0; i < head->e_shnum; i++) {
        if (parts[i].sh_type != SHT_SYMTAB || parts[i].sh_link >= head->e_shnum)
            continue;
        const Elf64_Shdr *names = &parts[parts[i].sh_link];
        if (parts[i].sh_offset + parts[i].sh_size > size ||
            names->sh_offset + names->sh_size > size)
            return;
        s->at = (const Elf64_Sym *)(file + parts[i].sh_offset);
        s->n = parts[i].sh_size / sizeof(*s->at);
        s->names = (const char *)file + names->sh_offset;
        s->names_len = names->sh_size;
        s->base = head->e_type == ET_DYN ? (uintptr_t)__executable_start : 0;
    }
}

// An address to return to (`back`) may lie behind a function whose last deed was the call.
static void say_frame(struct report *r, const struct symbols *s, void *address, bool back)
{
    uintptr_t at = (uintptr_t)address - back;
    if (!is_ours(at)) {
        report_flush(r);
        backtrace_symbols_fd(&address, 1, r->fd);
        return;
    }
    for (size_t i = 0; i < s->n; i++) {
        uintptr_t start = s->base + s->at[i].st_value;
        if (ELF64_ST_TYPE(s->at[i].st_info) == STT_FUNC && at >= start &&
            at < start + s->at[i].st_size && s->at[i].st_name < s->names_len) {
            say(r, "pollux-dataplane(%.100s+0x%zx)[%p]\n", s->names + s->at[i].st_name,
                (size_t)(at - start) + back, address);
            return;
        }
    }
    say(r, "pollux-dataplane(+0x%zx)[%p]\n",
        (size_t)((uintptr_t)address - (uintptr_t)__executable_start), address);
}

// From the instruction on at which the signal came.
static void say_stack(struct report *r, const ucontext_t *u)
{
    void *frames[FRAMES_MAX], *where = (void *)u->uc_mcontext.gregs[REG_RIP];
    struct symbols symbols;
    symbols_find(&symbols);
    int n = backtrace(frames, FRAMES_MAX), first = 0;
    while (first < n && frames[first] != where)
        first++;
    say(r, "EIP:\n");
    say_frame(r, &symbols, where, false);
    say(r, "\nBacktrace:\n");
    // It is not in it where the program jumped to no code.
    for (int i = first < n ? first : 0; i < n; i++)
        say_frame(r, &symbols, frames[i], frames[i] != where);
    report_flush(r);
}

// --- sections ------------------------------------------------------------------------------------

struct crash {
    struct report report;
    const siginfo_t *info;
    const ucontext_t *context;
};

static void tell_stack(struct crash *x)
{
    say_stack(&x->report, x->context);
}

static void tell_registers(struct crash *x)
{
    static const struct {
        const char *name;
        int number;
    } registers[] = {
        {"RAX", REG_RAX}, {"RBX", REG_RBX}, {"RCX", REG_RCX},       {"RDX", REG_RDX},
        {"RDI", REG_RDI}, {"RSI", REG_RSI}, {"RBP", REG_RBP},       {"RSP", REG_RSP},
        {"R8 ", REG_R8},  {"R9 ", REG_R9},  {"R10", REG_R10},       {"R11", REG_R11},
        {"R12", REG_R12}, {"R13", REG_R13}, {"R14", REG_R14},       {"R15", REG_R15},
        {"RIP", REG_RIP}, {"EFL", REG_EFL}, {"CSGSFS", REG_CSGSFS},
    };
    const greg_t *g = x->context->uc_mcontext.gregs;
    for (unsigned i = 0; i < sizeof(registers) / sizeof(*registers); i++)
        say(&x->report, "%s:%016llx%s", registers[i].name,
            (unsigned long long)g[registers[i].number], i % 4 == 3 ? "\n" : " ");
    say(&x->report, "\n");
    report_flush(&x->report);
    const uint64_t *sp = (const uint64_t *)g[REG_RSP]; // of a stack that may be over
    for (int i = STACK_WORDS - 1; i >= 0; i--)
        say(&x->report, "(%016lx) -> %016" PRIx64 "\n", (unsigned long)(sp + i), sp[i]);
}

static void tell_client(struct crash *x, const struct client *client)
{
    struct report *r = &x->report;
    char local[ENDPOINT_TEXT_MAX], remote[ENDPOINT_TEXT_MAX];
    size_t len = 0;
    uint64_t now = core_clock_us();
    const char *user = client->user ? access_user_name(client->user, &len) : "";
    say(r, "id=%" PRIu64 " addr=%s laddr=%s name=%.64s age=%" PRIu64 " idle=%" PRIu64, client->id,
        endpoint_format(&client->remote, remote), endpoint_format(&client->local, local),
        client_name(client), (now - client->created_us) / 1000000,
        (now - client->last_active_us) / 1000000);
    say(r, " flags=%x db=%u resp=%d user=%.*s lib-name=%s lib-ver=%s commands=%" PRIu64 "\n",
        client->flags, (unsigned)client->db, (int)client->resp, (int)len, user, client->lib_name,
        client->lib_version, client->commands);
}

// Names of commands, the beginnings of keys, the lengths of all else.
static void tell_arguments(struct crash *x, const struct request *q)
{
    struct report *r = &x->report;
    int keys[ARGS_SHOWN], n_keys = commands_keys(q->command, q->argv, q->argc, keys, ARGS_SHOWN);
    say(r, "argc: '%d'\n", q->argc);
    for (int i = 0; i < q->argc && i < ARGS_SHOWN; i++) {
        const struct arg *a = &q->argv[i];
        bool is_key = false;
        for (int k = 0; k < n_keys; k++)
            is_key |= keys[k] == i;
        say(r, "argv[%d]: ", i);
        if (i == 0 || (i == 1 && q->command->parent) || is_key)
            say_bytes(r, a->ptr, a->len, KEY_SHOWN);
        else
            say(r, "%zu bytes", a->len);
        say(r, "\n");
    }
    if (n_keys > 0)
        say(r, "slot: %u (database %u)\n", slot_of_key(q->argv[keys[0]].ptr, q->argv[keys[0]].len),
            (unsigned)q->session->db);
}

static void tell_request(struct crash *x, const struct request *q)
{
    struct report *r = &x->report;
    const struct command *command = q->command;
    say(r, "Command: %s%s%s%s\n", command->parent ? command->parent->name : "",
        command->parent ? "|" : "", command->name, q->of_script ? ", of a script" : "");
    const struct client *client = q->client ? q->client : this_core->clients;
    while (client && client->id != q->session->client_id)
        client = client->next;
    if (client)
        tell_client(x, client);
    else
        say(r, "id=%" PRIu64 ", a client of another core, or gone\n", q->session->client_id);
    report_flush(r);
    tell_arguments(x, q);
}

// The command in hand, and the one that it is part of (EXEC, a script's), or NULL.
struct hand {
    const struct request *inner, *outer;
};

static struct hand in_hand(const struct core *c)
{
    const struct script_run *run = c->scripts ? script_under_way(scripts_engine(c)) : NULL;
    struct hand hand = {c->running, NULL};
    if (run && c->executing) {
        hand.outer = run->request;
        if (!hand.inner || hand.inner == hand.outer)
            hand = (struct hand){run->request, NULL};
    } else if (c->executing && c->timed) { // the lean way, in which all share one request
        hand = (struct hand){&c->quick, c->running};
    }
    return hand;
}

// As its client sent it.
static const char *command_name(const struct core *c)
{
    struct hand hand = in_hand(c);
    const struct request *q = hand.outer ? hand.outer : hand.inner;
    return q ? q->command->name : "";
}

static void tell_command(struct crash *x)
{
    struct hand hand = this_core ? in_hand(this_core) : (struct hand){0};
    if (!hand.inner)
        say(&x->report, "none was running on this thread\n");
    else
        tell_request(x, hand.inner);
    if (hand.outer) {
        say(&x->report, "\nCalled by:\n");
        report_flush(&x->report);
        tell_request(x, hand.outer);
    }
}

static void tell_server(struct crash *x)
{
    struct report *r = &x->report;
    const struct server *s = served;
    struct utsname os = {0};
    uname(&os);
    say(r, "pollux_version:%s\nos:%s %s %s\ngcc_version:%d.%d.%d\nprocess_id:%d\n", POLLUX_VERSION,
        os.sysname, os.release, os.machine, __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__,
        (int)getpid());
    say(r, "run_id:%s\ntransport:%s\ntcp_port:%u\nuptime_in_seconds:%" PRIu64 "\n", s->run_id,
        s->dpdk ? "dpdk" : "socket", s->port, (core_wall_ms() - s->start_ms) / 1000);
    say(r, "executable:%s\ncores:%u\n", s->executable, s->n_cores);
    report_flush(r);
    uint64_t keys = 0;
    for (unsigned db = 0; db < keyspace_databases(s->keyspace); db++)
        keys += keyspace_keys(s->keyspace, db);
    say(r,
        "connected_clients:%" PRIu64 "\nkeys:%" PRIu64 "\nused_memory:%" PRIu64
        "\nused_memory_peak:%" PRIu64 "\n",
        atomic_load(&s->clients), keys, keyspace_used(s->keyspace), atomic_load(&s->memory_peak));
}

static void tell_cores(struct crash *x)
{
    struct report *r = &x->report;
    uint64_t now = core_clock_us();
    for (unsigned i = 0; i < served->n_cores; i++) {
        const struct core *c = served->cores[i];
        if (!c)
            continue;
        uint64_t beat = atomic_load(&served->segment->core[i].heartbeat_us);
        say(r,
            "core%u:cpu=%d,clients=%u,commands=%" PRIu64 ",turns=%" PRIu64 ",loans=%u,sleeps=%d"
            ",turn_began_us_ago=%" PRIu64 ",command=%s%s\n",
            i, c->cpu, c->n_clients, c->counters.commands, c->counters.turns, c->loans,
            (int)atomic_load(&c->sleeping), now > beat ? now - beat : 0, command_name(c),
            c == this_core ? ",crashed" : "");
    }
}

static void tell(struct crash *x, const char *title, void (*part)(struct crash *x))
{
    say(&x->report, "\n------ %s ------\n", title);
    report_flush(&x->report);
    if (sigsetjmp(section, 1) == 0) {
        in_section = 1;
        part(x);
    } else {
        say(&x->report, "\n(what follows here cannot be read)\n");
    }
    in_section = 0;
    report_flush(&x->report);
}

static void tell_head(struct crash *x)
{
    struct report *r = &x->report;
    const siginfo_t *info = x->info;
    int number = info->si_signo;
    char thread[16] = "";
    prctl(PR_GET_NAME, thread);
    say(r, "\n\n=== POLLUX BUG REPORT START: Cut & paste starting from here ===\n");
    say_prefix(r);
    say(r, "Pollux %s (answers as Redis 7.0.15) crashed by signal: %d (%s), si_code: %d\n",
        POLLUX_VERSION, number, signal_name(number), info->si_code);
    if (reason[0]) {
        say_prefix(r);
        say(r, "%s\n", reason);
    }
    say_prefix(r);
    if (info->si_code <= 0)
        say(r, "Sent by PID: %ld, UID: %d\n", (long)info->si_pid, (int)info->si_uid);
    else
        say(r, "Accessing address: %p\n", info->si_addr);
    say_prefix(r);
    say(r, "Crashed running the instruction at: %p\n",
        (void *)x->context->uc_mcontext.gregs[REG_RIP]);
    say_prefix(r);
    if (this_core)
        say(r, "Crashed on core %u (thread %s)\n", this_core->index, thread);
    else
        say(r, "Crashed on thread %s\n", thread);
    report_flush(r);
}

// --- the end -------------------------------------------------------------------------------------

static void set_handler(int number, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction a = {.sa_flags = SA_ONSTACK | flags};
    sigemptyset(&a.sa_mask);
    if (handler) {
        a.sa_sigaction = handler;
        a.sa_flags |= SA_SIGINFO;
    } else {
        a.sa_handler = SIG_DFL;
    }
    sigaction(number, &a, NULL);
}

// As if there had been no handler.
__attribute__((noreturn)) static void end_by(int number)
{
    sigset_t set;
    set_handler(number, NULL, 0);
    sigemptyset(&set);
    sigaddset(&set, number);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    syscall(SYS_tgkill, getpid(), gettid(), number);
    _exit(128 + number);
}

static void park_others(void)
{
    for (unsigned i = 0; i < served->n_cores; i++) {
        const struct core *c = served->cores[i];
        if (c && c != this_core && atomic_load(&c->state) == CORE_READY)
            pthread_kill(c->thread, SIGNAL_PARK);
    }
}

// For the control plane, which sees that we are gone and asks why.
static void tell_segment(int number)
{
    struct plane_segment *g = served->segment;
    if (!g)
        return;
    snprintf(g->crash_command, sizeof(g->crash_command), "%s",
             this_core ? command_name(this_core) : "");
    atomic_store(&g->crash_core, this_core ? (int32_t)this_core->index : -1);
    atomic_store(&g->crash_signal, number);
}

static void on_crash(int number, siginfo_t *info, void *context)
{
    pid_t me = gettid(), first = 0;
    if (!atomic_compare_exchange_strong(&crashing, &first, me)) {
        if (first == me && in_section)
            siglongjmp(section, 1);
        if (first == me)
            end_by(crashed_by);
        for (;;) // the first one ends the process
            pause();
    }
    crashed_by = number;
    alarm(REPORT_SECONDS);
    park_others();
    struct crash x = {.report = {.fd = log_crash_fd()}, .info = info, .context = context};
    tell_head(&x);
    tell(&x, "STACK TRACE", tell_stack);
    tell(&x, "REGISTERS", tell_registers);
    tell(&x, "CURRENT COMMAND AND CLIENT", tell_command);
    tell(&x, "INFO OUTPUT", tell_server);
    tell(&x, "CORES", tell_cores);
    say(&x.report, "\n=== POLLUX BUG REPORT END. Make sure to include from START to END. ===\n\n");
    report_flush(&x.report);
    if (sigsetjmp(section, 1) == 0) {
        in_section = 1;
        tell_segment(number);
        log_warning("The data plane crashed by signal %d (%s): see the report in the log", number,
                    signal_name(number));
        log_crash_flush();
    }
    end_by(number);
}

static void on_park(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    (void)context;
    while (atomic_load(&crashing))
        pause();
}

// --- the watchdog --------------------------------------------------------------------------------

static void tell_stalled(const ucontext_t *context)
{
    const struct core *c = this_core;
    struct report r = {.fd = log_crash_fd()};
    say_prefix(&r);
    say(&r, "--- WATCHDOG TIMER EXPIRED: core %u, command '%s' ---\n", c ? c->index : 0,
        c ? command_name(c) : "");
    say_stack(&r, context);
    say_prefix(&r);
    say(&r, "------\n");
    report_flush(&r);
    if (r.fd > STDERR_FILENO)
        close(r.fd);
}

static void on_alarm(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    int kept = errno;
    if (!atomic_load(&crashing)) {
        tell_stalled(context);
    } else { // on any thread
        set_handler(crashed_by, NULL, 0);
        kill(getpid(), crashed_by);
    }
    errno = kept;
}

void crash_watch(struct server *server)
{
    uint64_t period = atomic_load_explicit(&watchdog_us, memory_order_relaxed);
    if (!period)
        return;
    uint64_t now = core_clock_us();
    for (unsigned i = 0; i < server->n_cores; i++) {
        struct core *c = server->cores[i];
        uint64_t beat = atomic_load(&server->segment->core[i].heartbeat_us);
        uint64_t told = atomic_load(&stall_us[i]);
        if (atomic_load(&c->state) != CORE_READY || atomic_load(&c->sleeping) ||
            now < beat + period || now < told + period)
            continue;
        atomic_store(&stall_us[i], now);
        pthread_kill(c->thread, SIGALRM);
    }
}

// --- start ---------------------------------------------------------------------------------------

void crash_configure(const struct config *config)
{
    bool on = config_bool(config, "crash-log-enabled") && !OTHERS_HANDLERS;
    atomic_store(&watchdog_us, (uint64_t)config_integer(config, "watchdog-period") * 1000);
    // What faults within the report comes back to it.
    for (unsigned i = 0; i < sizeof(crash_signals) / sizeof(*crash_signals); i++)
        if (!OTHERS_HANDLERS)
            set_handler(crash_signals[i], on ? on_crash : NULL, SA_NODEFER);
}

void crash_start(struct server *server, const struct config *config)
{
    served = server;
    void *frame;
    backtrace(&frame, 1); // loads what it needs
    set_handler(SIGNAL_PARK, on_park, SA_RESTART);
    set_handler(SIGALRM, on_alarm, SA_RESTART);
    crash_thread(NULL);
    crash_configure(config);
}

void crash_thread(struct core *c)
{
    this_core = c;
    // Kept to the end of the process. Without it only a stack that is over goes without a report.
    void *stack = OTHERS_HANDLERS ? NULL : memory_map(HANDLER_STACK_BYTES);
    if (stack)
        sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = HANDLER_STACK_BYTES}, NULL);
}

// --- on purpose ----------------------------------------------------------------------------------

// What the C library calls for `assert`: the words go to the report, too.
void __assert_fail(const char *expression, const char *file, unsigned line, const char *function)
{
    snprintf(reason, sizeof(reason), "=== ASSERTION FAILED === %s:%u (%s): '%s' is not true", file,
             line, function, expression);
    dprintf(STDERR_FILENO, "%s\n", reason);
    abort();
}

// By its name in the report.
__attribute__((noinline, noclone)) void crash_on_purpose(enum crash_kind kind)
{
    const int zero = 0;
    switch (kind) {
    case CRASH_SEGFAULT: {
        volatile char *page = mmap(NULL, 1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        *page = 'x';
        break;
    }
    case CRASH_PANIC:
        snprintf(reason, sizeof(reason), "!!! Software Failure: DEBUG PANIC was called");
        break;
    case CRASH_ASSERT:
        assert(zero == 1);
        break;
    }
    abort();
}
