// Other processes, for people who read logs.
#pragma once

#include <stddef.h>
#include <sys/types.h>

#define PROCESS_TEXT_MAX 96
// "pid 4711 (systemd), user 0" of who sent a signal, as signalfd or siginfo tell it; a sender of
// pid 0 is the kernel: somebody pressed Ctrl-C. Reads /proc. Returns `text`.
const char *process_sender(pid_t pid, uid_t user, char text[PROCESS_TEXT_MAX]);
