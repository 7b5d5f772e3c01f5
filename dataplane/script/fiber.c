// Fibers for x86-64 (System V). See fiber.h.
#include "dataplane/script/fiber.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define SWITCH_STARTS(fake, bottom, size) __sanitizer_start_switch_fiber(fake, bottom, size)
#define SWITCH_ENDED(fake, bottom, size) __sanitizer_finish_switch_fiber(fake, bottom, size)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_UNPOISON_MEMORY_REGION(at, size) (void)(at), (void)(size)
#define SWITCH_STARTS(fake, bottom, size) (void)(bottom), (void)(size)
#define SWITCH_ENDED(fake, bottom, size) (void)(bottom), (void)(size)
#endif

#ifdef __clang__ // has no noclone, and clones no such function
#define APART __attribute__((naked, noinline))
#else
#define APART __attribute__((naked, noinline, noclone))
#endif
#define UNUSED __attribute__((unused)) // but by the assembler

// Saves what a function must preserve, and goes on where `to` was saved. Rounding modes are never
// changed, so they need not be saved.
APART static void swap_stacks(void **save UNUSED, void *to UNUSED)
{
    __asm__("pushq %rbp\n\t"
            "pushq %rbx\n\t"
            "pushq %r12\n\t"
            "pushq %r13\n\t"
            "pushq %r14\n\t"
            "pushq %r15\n\t"
            "movq %rsp, (%rdi)\n\t"
            "movq %rsi, %rsp\n\t"
            "popq %r15\n\t"
            "popq %r14\n\t"
            "popq %r13\n\t"
            "popq %r12\n\t"
            "popq %rbx\n\t"
            "popq %rbp\n\t"
            "ret");
}

// Where a new stack begins: r12 and r13 hold the function and its argument.
APART static void begin(void)
{
    __asm__("movq %r13, %rdi\n\t"
            "callq *%r12\n\t"
            "ud2");
}

static void leave(struct fiber *f)
{
    SWITCH_STARTS(&f->fake, f->caller_bottom, f->caller_size);
    swap_stacks(&f->sp, f->caller);
    SWITCH_ENDED(f->fake, &f->caller_bottom, &f->caller_size);
}

static void enter(struct fiber *f)
{
    SWITCH_STARTS(&f->caller_fake, f->map, f->map_size);
    swap_stacks(&f->caller, f->sp);
    SWITCH_ENDED(f->caller_fake, &(const void *){NULL}, &(size_t){0});
}

// The bottom of the stack: never returns, so that the next entry costs a switch alone.
static void run(void *fiber)
{
    struct fiber *f = fiber;
    SWITCH_ENDED(NULL, &f->caller_bottom, &f->caller_size);
    for (;;) {
        f->entry(f->argument);
        f->over = true;
        leave(f);
    }
}

void fiber_reset(struct fiber *f)
{
    ASAN_UNPOISON_MEMORY_REGION(f->map, f->map_size); // of what was given up
    // Six registers as swap_stacks takes them, and where to go: aligned as behind a call.
    uintptr_t *top = (void *)((uint8_t *)f->map + f->map_size);
    uintptr_t *sp = top - 9;
    sp[0] = sp[1] = 0;        // r15, r14
    sp[2] = (uintptr_t)f;     // r13
    sp[3] = (uintptr_t)run;   // r12
    sp[4] = sp[5] = 0;        // rbx, rbp: the end of every backtrace
    sp[6] = (uintptr_t)begin; // the address to return to
    sp[7] = sp[8] = 0;
    f->sp = sp;
    f->over = true;
}

bool fiber_create(struct fiber *f, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    *f = (struct fiber){.map_size = size + page};
    f->map = mmap(NULL, f->map_size, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (f->map == MAP_FAILED) {
        f->map = NULL;
        return false;
    }
    if (mprotect(f->map, page, PROT_NONE)) {
        fiber_destroy(f);
        return false;
    }
    fiber_reset(f);
    return true;
}

void fiber_destroy(struct fiber *f)
{
    if (f->map)
        munmap(f->map, f->map_size);
    f->map = NULL;
}

bool fiber_resume(struct fiber *f)
{
    enter(f);
    return f->over;
}

bool fiber_start(struct fiber *f, void (*entry)(void *), void *argument)
{
    f->entry = entry;
    f->argument = argument;
    f->over = false;
    return fiber_resume(f);
}

void fiber_pause(struct fiber *f)
{
    leave(f);
}
