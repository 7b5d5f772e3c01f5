// DPDK's environment: its arguments, its log, its threads. It can be started once in a process.
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>

#include "common/log.h"
#include "drivers/nic_internal.h"

enum { ARGUMENTS_MAX = 24 + 2 * NIC_DEVICES_MAX, ARGUMENT_BYTES = 128 };

static struct {
    pthread_mutex_t lock;
    FILE *stream;
    bool opened;
    char complaint[160];
} eal = {.lock = PTHREAD_MUTEX_INITIALIZER};

const char *eal_complaint(void)
{
    return eal.complaint;
}

void eal_complaint_clear(void)
{
    pthread_mutex_lock(&eal.lock);
    eal.complaint[0] = '\0';
    pthread_mutex_unlock(&eal.lock);
}

void eal_opened(void)
{
    eal.opened = true;
}

// A line of DPDK's log. While a port is being opened, complaints are the details of the one error
// that we will return; later they are warnings in their own right.
static ssize_t eal_log(void *cookie, const char *text, size_t size)
{
    (void)cookie;
    int level = rte_log_cur_msg_loglevel();
    size_t n = size;
    while (n && (text[n - 1] == '\n' || text[n - 1] == ' '))
        n--;
    if (n == 0)
        return (ssize_t)size;
    if (level > 0 && level <= (int)RTE_LOG_ERR) {
        pthread_mutex_lock(&eal.lock);
        // The first one names the cause; those after it are of the callers.
        if (!eal.complaint[0])
            snprintf(eal.complaint, sizeof(eal.complaint), "%.*s", (int)n, text);
        pthread_mutex_unlock(&eal.lock);
    }
    enum log_level ours = LOG_LEVEL_DEBUG;
    if (level > 0 && level <= (int)RTE_LOG_ERR)
        ours = eal.opened ? LOG_LEVEL_WARNING : LOG_LEVEL_VERBOSE;
    else if (level > 0 && level <= (int)RTE_LOG_NOTICE)
        ours = LOG_LEVEL_VERBOSE;
    log_write(ours, "DPDK: %.*s", (int)n, text);
    return (ssize_t)size;
}

static void eal_open_log(void)
{
    if (eal.stream)
        return;
    eal.stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = eal_log});
    if (!eal.stream)
        return;
    setvbuf(eal.stream, NULL, _IOLBF, 0);
    rte_openlog_stream(eal.stream);
}

// libbpf and libxdp, which the AF_XDP driver brings with it, write to standard error unless they
// are given a function. Their levels begin with 0 for warnings.
static int xdp_log(int level, const char *format, va_list list)
{
    char text[256];
    int n = vsnprintf(text, sizeof(text), format, list);
    log_write(level == 0 ? LOG_LEVEL_VERBOSE : LOG_LEVEL_DEBUG, "%.*s", (int)strcspn(text, "\n"),
              text);
    return n;
}

static void redirect_xdp_log(void)
{
    static const struct {
        const char *library, *function;
    } redirect[] = {{"libbpf.so.1", "libbpf_set_print"}, {"libxdp.so.1", "libxdp_set_print"}};
    for (size_t i = 0; i < sizeof(redirect) / sizeof(redirect[0]); i++) {
        // Only where it is loaded already: we do not depend on it.
        void *library = dlopen(redirect[i].library, RTLD_LAZY | RTLD_NOLOAD);
        void *(*set_print)(int (*)(int, const char *, va_list)) = NULL;
        if (library)
            *(void **)&set_print = dlsym(library, redirect[i].function);
        if (set_print)
            set_print(xdp_log);
    }
}

struct arguments {
    int n;
    char text[ARGUMENTS_MAX][ARGUMENT_BYTES];
    char *pointer[ARGUMENTS_MAX + 1];
};

__attribute__((format(printf, 2, 3))) static void add(struct arguments *a, const char *format, ...)
{
    va_list list;
    if (a->n == ARGUMENTS_MAX)
        return;
    va_start(list, format);
    vsnprintf(a->text[a->n], ARGUMENT_BYTES, format, list);
    va_end(list);
    a->pointer[a->n] = a->text[a->n];
    a->pointer[++a->n] = NULL;
}

// One lcore that stands for all polling CPUs: DPDK's own threads then keep off them where others
// are left.
static void add_lcores(struct arguments *a, const struct nic *nic, const cpu_set_t *allowed)
{
    char cpus[ARGUMENT_BYTES - 16];
    size_t at = 0;
    for (unsigned i = 0; nic->options.cpus && i < nic->options.queues; i++) {
        int cpu = nic->options.cpus[i];
        if (cpu < 0 || cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, allowed) || at + 8 > sizeof(cpus))
            continue;
        at += (size_t)snprintf(cpus + at, sizeof(cpus) - at, "%s%d", at ? "," : "", cpu);
    }
    if (at == 0)
        for (int cpu = 0; cpu < CPU_SETSIZE && at == 0; cpu++)
            if (CPU_ISSET(cpu, allowed))
                at = (size_t)snprintf(cpus, sizeof(cpus), "%d", cpu);
    add(a, "--lcores=0@(%s)", cpus);
}

static void add_arguments(struct arguments *a, const struct nic *nic, const cpu_set_t *allowed)
{
    bool pci = false, virtual = false;
    add(a, "pollux");
    add_lcores(a, nic, allowed);
    for (unsigned i = 0; i < nic->n_devices; i++) {
        pci = pci || nic->device[i].pci;
        virtual = virtual || !nic->device[i].pci;
        if (nic->device[i].pci)
            add(a, "--allow=%s", nic->device[i].text);
    }
    if (!pci)
        add(a, "--no-pci");
    // Virtual devices have no IOMMU to translate for them and want plain addresses.
    if (virtual)
        add(a, "--iova-mode=va");
    add(a, "--no-telemetry");
    add(a, "--log-level=lib.*:notice");
    add(a, "--log-level=pmd.*:notice");
    add(a, "--file-prefix=%.80s", nic->options.name ? nic->options.name : "pollux");
    if (nic->info.huge_pages) {
        // No files, pages taken as they are needed; few descriptors, which memif hands to its peer.
        add(a, "--in-memory");
        add(a, "--single-file-segments");
    } else {
        add(a, "--no-huge");
        add(a, "-m");
        add(a, "%u", (unsigned)(nic->memory_bytes >> 20) + (unsigned)NIC_MEMORY_OVERHEAD_MB);
    }
}

bool eal_start(struct nic *nic)
{
    struct arguments a = {0};
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof(allowed), &allowed);
    eal_open_log();
    eal.opened = false;
    eal_complaint_clear();
    add_arguments(&a, nic, &allowed);

    // Its threads shall not take our signals. Real-time ones they shall: the TAP driver learns of
    // frames by them, and an idle thread is the right one to be interrupted.
    sigset_t block, before;
    sigfillset(&block);
    for (int i = SIGRTMIN; i <= SIGRTMAX; i++)
        sigdelset(&block, i);
    pthread_sigmask(SIG_SETMASK, &block, &before);
    int e = rte_eal_init(a.n, a.pointer);
    int number = rte_errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    sched_setaffinity(0, sizeof(allowed), &allowed);
    if (e >= 0) {
        redirect_xdp_log();
        return true;
    }
    if (number == EALREADY)
        return nic_error(nic, "DPDK was started before in this process; start the server anew");
    return nic_error(nic, "DPDK does not start: %s%s%s", strerror(number),
                     eal_complaint()[0] ? ": " : "", eal_complaint());
}

// The directory holds the layout of DPDK's memory for other processes to join, and none will. It
// goes as soon as everything is open, while we have the rights and before anyone can kill us.
void eal_remove_files(void)
{
    const char *directory = rte_eal_get_runtime_dir();
    if (!directory || !directory[0])
        return;
    DIR *dir = opendir(directory);
    for (const struct dirent *e; dir && (e = readdir(dir));) {
        char path[512];
        if (e->d_name[0] != '.' &&
            snprintf(path, sizeof(path), "%s/%s", directory, e->d_name) < (int)sizeof(path))
            unlink(path);
    }
    if (dir)
        closedir(dir);
    rmdir(directory);
}

void eal_stop(void)
{
    eal_remove_files();
    rte_eal_cleanup();
}
