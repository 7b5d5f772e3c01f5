// The plane contract: where its files lie, how the segment comes into being, and the rings.
//
// The segment's file is held under a shared flock by every process that has it mapped, and is made
// or replaced under an exclusive one. So its birth is seen whole or not at all: a creator that is
// killed leaves a file without the magic number, which the next one to hold the lock replaces.
#include "common/plane.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// How long plane_open waits for another process that creates the segment; that takes well below 1
// ms.
#define OPEN_WAIT_MS 2000
#define OPEN_MAX 16 // segments that one process has open: one, or a few in tests

static struct {
    struct plane_segment *segment;
    int fd; // holds the shared lock
} opened[OPEN_MAX];
static pthread_mutex_t opened_lock = PTHREAD_MUTEX_INITIALIZER;

// --- files ---------------------------------------------------------------------------------------

int plane_run_directory_name(const char *configured, char *path, size_t size)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    int n;
    if (configured && *configured) {
        n = snprintf(path, size, "%s", configured);
    } else if (geteuid() == 0) {
        n = snprintf(path, size, "/run/pollux");
    } else if (runtime && *runtime) {
        n = snprintf(path, size, "%s/pollux", runtime);
    } else {
        n = snprintf(path, size, "/tmp/pollux-%u", (unsigned)geteuid());
    }
    return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

int plane_run_directory(const char *configured, char *path, size_t size)
{
    int e = plane_run_directory_name(configured, path, size);
    if (e)
        return e;
    // In a folder that all can write to, someone else may have made it first.
    bool guessable = !(configured && *configured) && strncmp(path, "/tmp/", 5) == 0;
    if (mkdir(path, 0700) && errno != EEXIST)
        return -errno;
    struct stat st;
    if (lstat(path, &st))
        return -errno;
    if (guessable && (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022)))
        return -EPERM;
    if (stat(path, &st))
        return -errno;
    return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

void plane_path(const char *run_directory, unsigned port, const char *suffix, char *path,
                size_t size)
{
    snprintf(path, size, "%s/%u.%s", run_directory, port, suffix);
}

// True when `path` still names the file behind `fd`.
static bool same_file(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

static const char *side_name(const char *side)
{
    return strcmp(side, "data") == 0      ? "data plane"
           : strcmp(side, "control") == 0 ? "control plane"
                                          : "pollux-server";
}

int plane_lock(const char *run_directory, unsigned port, const char *side, char *error,
               size_t error_size)
{
    char suffix[32], path[512];
    snprintf(suffix, sizeof(suffix), "%s.lock", side);
    plane_path(run_directory, port, suffix, path, sizeof(path));
    for (;;) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0) {
            int e = errno;
            snprintf(error, error_size, "cannot open the lock %s: %s", path, strerror(e));
            return -e;
        }
        if (flock(fd, LOCK_EX | LOCK_NB)) {
            int e = errno;
            char pid[16] = "";
            ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);
            pid[n > 0 ? n : 0] = '\0';
            pid[strspn(pid, "0123456789")] = '\0';
            snprintf(error, error_size,
                     "another %s (pid %s) serves port %u in %s: stop it, or choose another "
                     "port or runtime-dir",
                     side_name(side), pid[0] ? pid : "unknown", port, run_directory);
            close(fd);
            return -e;
        }
        if (!same_file(fd, path)) { // removed by the former owner while we waited
            close(fd);
            continue;
        }
        char pid[16];
        int n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
        if (ftruncate(fd, 0) || pwrite(fd, pid, (size_t)n, 0) != n) {
            int e = errno ? errno : EIO;
            snprintf(error, error_size, "cannot write the lock %s: %s", path, strerror(e));
            close(fd);
            return -e;
        }
        return fd;
    }
}

void plane_unlock(const char *run_directory, unsigned port, const char *side, int fd)
{
    char suffix[32], path[512];
    snprintf(suffix, sizeof(suffix), "%s.lock", side);
    plane_path(run_directory, port, suffix, path, sizeof(path));
    if (same_file(fd, path))
        unlink(path);
    close(fd);
}

void plane_leave(const char *run_directory, unsigned port, const char *side, int fd)
{
    static const char *const sides[] = {"data", "control", "server"};
    enum { SIDES = sizeof(sides) / sizeof(*sides) };
    int held[SIDES];
    bool alone = true;
    char text[512];
    for (unsigned i = 0; i < SIDES; i++) {
        bool own = strcmp(sides[i], side) == 0;
        held[i] = own ? -1 : plane_lock(run_directory, port, sides[i], text, sizeof(text));
        alone &= own || held[i] >= 0;
    }
    if (alone) {
        plane_path(run_directory, port, "segment", text, sizeof(text));
        unlink(text);
    }
    for (unsigned i = 0; i < SIDES; i++)
        if (held[i] >= 0)
            plane_unlock(run_directory, port, sides[i], held[i]);
    plane_unlock(run_directory, port, side, fd);
}

// --- the segment ---------------------------------------------------------------------------------

static struct plane_segment *segment_map(int fd)
{
    void *p = mmap(NULL, sizeof(struct plane_segment), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

static bool segment_valid(int fd)
{
    struct stat st;
    struct {
        uint32_t magic, version;
        uint64_t size;
    } start;
    return fstat(fd, &st) == 0 && st.st_size == (off_t)sizeof(struct plane_segment) &&
           pread(fd, &start, sizeof(start), 0) == sizeof(start) && start.magic == PLANE_MAGIC &&
           start.version == PLANE_VERSION && start.size == sizeof(struct plane_segment);
}

// Makes a new file beside and renames it into place, so that a file that others have mapped is
// never cut short under them. Returns its descriptor, exclusively locked, or -errno.
static int segment_create(const char *path)
{
    char fresh[512];
    snprintf(fresh, sizeof(fresh), "%s.new", path);
    unlink(fresh);
    int fd = open(fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int e = 0;
    struct plane_segment *s = NULL;
    if (flock(fd, LOCK_EX | LOCK_NB) || ftruncate(fd, sizeof(struct plane_segment)))
        e = errno;
    // Memory for all but the channels now: a full tmpfs is an error here and SIGBUS later.
    if (!e)
        e = posix_fallocate(fd, 0, offsetof(struct plane_segment, channel));
    if (!e && !(s = segment_map(fd)))
        e = errno;
    if (s) {
        s->version = PLANE_VERSION;
        s->size = sizeof(*s);
        for (unsigned i = 0; i < PLANE_CORES_MAX; i++)
            atomic_store_explicit(&s->core[i].cpu, -1, memory_order_relaxed);
        atomic_store_explicit(&s->magic, PLANE_MAGIC, memory_order_release);
        munmap(s, sizeof(*s));
        if (rename(fresh, path))
            e = errno;
    }
    if (e) {
        unlink(fresh);
        close(fd);
        return -e;
    }
    return fd;
}

static void nap_ms(unsigned ms)
{
    struct timespec t = {.tv_nsec = (long)ms * 1000000};
    nanosleep(&t, NULL);
}

// One attempt: a descriptor of the valid segment under a shared lock, -EAGAIN to try again (someone
// is creating it), or -errno.
static int segment_attempt(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_SH | LOCK_NB) == 0 && same_file(fd, path) && segment_valid(fd))
        return fd;
    // Not whole: born by half, of another version, or just open()ed into being by us.
    if (flock(fd, LOCK_EX | LOCK_NB) || !same_file(fd, path)) {
        close(fd);
        return -EAGAIN;
    }
    int fresh = segment_create(path);
    close(fd);
    if (fresh < 0)
        return fresh;
    if (flock(fresh, LOCK_SH | LOCK_NB) || !same_file(fresh, path)) {
        close(fresh);
        return -EAGAIN;
    }
    return fresh;
}

struct plane_segment *plane_open(const char *path, char *error, size_t error_size)
{
    int fd = -EAGAIN;
    for (unsigned waited = 0; fd == -EAGAIN && waited < OPEN_WAIT_MS; waited++) {
        fd = segment_attempt(path);
        if (fd == -EAGAIN)
            nap_ms(1);
    }
    if (fd == -EAGAIN) {
        snprintf(error, error_size,
                 "the segment %s is held by processes of another version: stop them first", path);
        return NULL;
    }
    if (fd < 0) {
        snprintf(error, error_size, "cannot open the segment %s: %s", path, strerror(-fd));
        return NULL;
    }
    struct plane_segment *s = segment_map(fd);
    if (!s) {
        snprintf(error, error_size, "cannot map the segment %s: %s", path, strerror(errno));
        close(fd);
        return NULL;
    }
    pthread_mutex_lock(&opened_lock);
    unsigned i = 0;
    while (i < OPEN_MAX && opened[i].segment)
        i++;
    assert(i < OPEN_MAX);
    opened[i].segment = s;
    opened[i].fd = fd;
    pthread_mutex_unlock(&opened_lock);
    return s;
}

static int opened_find(const struct plane_segment *segment)
{
    for (int i = 0; i < OPEN_MAX; i++)
        if (opened[i].segment == segment)
            return i;
    return -1;
}

int plane_reserve(struct plane_segment *segment, unsigned cores)
{
    assert(cores <= PLANE_CORES_MAX);
    pthread_mutex_lock(&opened_lock);
    int i = opened_find(segment);
    int e = i < 0 ? EINVAL
                  : posix_fallocate(opened[i].fd, offsetof(struct plane_segment, channel),
                                    (off_t)(cores * sizeof(struct plane_channel)));
    pthread_mutex_unlock(&opened_lock);
    return -e;
}

void plane_close(struct plane_segment *segment)
{
    if (!segment)
        return;
    pthread_mutex_lock(&opened_lock);
    int i = opened_find(segment);
    assert(i >= 0);
    munmap(segment, sizeof(*segment));
    close(opened[i].fd);
    opened[i].segment = NULL;
    pthread_mutex_unlock(&opened_lock);
}

// --- rings ---------------------------------------------------------------------------------------
//
// head and tail count bytes and only grow; both are multiples of 8. Either may hold garbage written
// by a broken process on the other side. The producer then takes the ring for full until the
// consumer, which alone moves the tail, has emptied it.

#define HEADER sizeof(struct plane_message)
#define PAD_HEADER 8 // size, kind and flags: all that a pad has room for at the end of the ring

_Static_assert(HEADER == 24, "the header is part of the contract");
_Static_assert(PLANE_RING_BYTES % 8 == 0 && (PLANE_RING_BYTES & (PLANE_RING_BYTES - 1)) == 0,
               "positions wrap by a mask");

static size_t aligned(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

// Bytes of the ring that a part of `len` bytes takes when it is written at `head`, its pad
// included.
static size_t part_bytes(uint64_t head, size_t len)
{
    size_t whole = aligned(HEADER + len);
    size_t to_end = PLANE_RING_BYTES - (size_t)(head % PLANE_RING_BYTES);
    return whole <= to_end ? whole : to_end + whole;
}

static uint64_t part_write(struct plane_ring *ring, uint64_t head, const struct plane_message *m,
                           const uint8_t *data, size_t len)
{
    size_t whole = aligned(HEADER + len);
    size_t to_end = PLANE_RING_BYTES - (size_t)(head % PLANE_RING_BYTES);
    if (whole > to_end) {
        struct plane_message pad = {.size = (uint32_t)to_end, .kind = PLANE_PAD};
        memcpy(ring->bytes + head % PLANE_RING_BYTES, &pad, PAD_HEADER);
        head += to_end;
    }
    uint8_t *at = ring->bytes + head % PLANE_RING_BYTES;
    memcpy(at, m, HEADER);
    if (len)
        memcpy(at + HEADER, data, len);
    return head + whole;
}

// Free bytes as the producer sees them.
static size_t ring_room(struct plane_ring *ring, uint64_t *head)
{
    *head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (*head % 8) // not our doing: whoever wrote it, go on from an aligned place
        *head = (*head + 7) & ~(uint64_t)7;
    uint64_t used = *head - atomic_load_explicit(&ring->tail, memory_order_acquire);
    return used > PLANE_RING_BYTES ? 0 : PLANE_RING_BYTES - (size_t)used;
}

bool plane_send_parts(struct plane_ring *ring, enum plane_message_kind kind, uint64_t request,
                      uint64_t generation, const void *data, size_t len, size_t *offset)
{
    assert(*offset <= len);
    const size_t part_max = PLANE_MESSAGE_MAX - HEADER;
    uint64_t head;
    size_t room = ring_room(ring, &head);
    for (;;) {
        size_t part = len - *offset < part_max ? len - *offset : part_max;
        size_t need = part_bytes(head, part);
        if (need > room)
            return false;
        bool last = *offset + part == len;
        struct plane_message m = {.size = (uint32_t)(HEADER + part),
                                  .kind = (uint16_t)kind,
                                  .flags = last ? 0 : PLANE_MORE,
                                  .request = request,
                                  .generation = generation};
        head = part_write(ring, head, &m, (const uint8_t *)data + *offset, part);
        room -= need;
        *offset += part;
        atomic_store_explicit(&ring->head, head, memory_order_release);
        if (last)
            return true;
    }
}

bool plane_send(struct plane_ring *ring, enum plane_message_kind kind, uint64_t request,
                uint64_t generation, const void *data, size_t len)
{
    if (len > PLANE_SEND_MAX)
        return false;
    const size_t part_max = PLANE_MESSAGE_MAX - HEADER;
    uint64_t head;
    size_t room = ring_room(ring, &head), need = 0, left = len;
    for (uint64_t at = head;;) {
        size_t part = left < part_max ? left : part_max;
        size_t bytes = part_bytes(at, part);
        at += bytes;
        need += bytes;
        left -= part;
        if (!left)
            break;
    }
    if (need > room) {
        atomic_fetch_add_explicit(&ring->dropped, 1, memory_order_relaxed);
        return false;
    }
    size_t offset = 0;
    bool sent = plane_send_parts(ring, kind, request, generation, data, len, &offset);
    assert(sent); // the room can only have grown
    return true;
}

void plane_discard(struct plane_ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    ring->shown = 0;
    atomic_store_explicit(&ring->tail, head, memory_order_release);
}

static const struct plane_message *ring_reset(struct plane_ring *ring)
{
    atomic_fetch_add_explicit(&ring->resets, 1, memory_order_relaxed);
    plane_discard(ring);
    return NULL;
}

const struct plane_message *plane_receive(struct plane_ring *ring, const uint8_t **data,
                                          size_t *len)
{
    // Twice at most: a pad, and the message behind it.
    for (;;) {
        uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
        uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
        uint64_t used = head - tail;
        if (!used)
            return NULL;
        if (used > PLANE_RING_BYTES || used % 8 || tail % 8)
            return ring_reset(ring);
        const uint8_t *at = ring->bytes + tail % PLANE_RING_BYTES;
        size_t to_end = PLANE_RING_BYTES - (size_t)(tail % PLANE_RING_BYTES);
        // One look at the size: what is checked is what is used.
        uint32_t size = *(const volatile uint32_t *)at;
        uint16_t kind = *(const volatile uint16_t *)(at + offsetof(struct plane_message, kind));
        if (kind == PLANE_PAD) {
            if (size != to_end || size > used)
                return ring_reset(ring);
            atomic_store_explicit(&ring->tail, tail + size, memory_order_release);
            continue;
        }
        if (size < HEADER || size > PLANE_MESSAGE_MAX || aligned(size) > to_end ||
            aligned(size) > used)
            return ring_reset(ring);
        ring->shown = (uint32_t)aligned(size);
        *data = at + HEADER;
        *len = size - HEADER;
        return (const struct plane_message *)at;
    }
}

void plane_received(struct plane_ring *ring)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    atomic_store_explicit(&ring->tail, tail + ring->shown, memory_order_release);
    ring->shown = 0;
}

const char *plane_crash_text(const struct plane_segment *segment, char *text)
{
    int number = atomic_load(&segment->crash_signal), core = atomic_load(&segment->crash_core);
    char command[sizeof(segment->crash_command) + 1] = "", where[32] = "";
    text[0] = '\0';
    if (!number)
        return text;
    memcpy(command, segment->crash_command, sizeof(segment->crash_command));
    for (char *c = command; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    if (core >= 0)
        snprintf(where, sizeof(where), " on core %d", core);
    snprintf(text, PLANE_CRASH_TEXT_MAX, " (signal %d%s%s%s: see its report in the log)", number,
             where, *command ? ", in " : "", command);
    return text;
}
