#include "common/process.h"

#include <stdio.h>
#include <string.h>

const char *process_sender(pid_t pid, uid_t user, char text[PROCESS_TEXT_MAX])
{
    if (pid <= 0) {
        snprintf(text, PROCESS_TEXT_MAX, "the terminal");
        return text;
    }
    char path[48], name[32] = "";
    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    FILE *f = fopen(path, "re");
    if (f) {
        size_t n = fread(name, 1, sizeof(name) - 1, f);
        name[n] = '\0';
        name[strcspn(name, "\n")] = '\0';
        fclose(f);
    }
    snprintf(text, PROCESS_TEXT_MAX, "pid %d%s%s%s, user %u", (int)pid, *name ? " (" : "", name,
             *name ? ")" : "", (unsigned)user);
    return text;
}
