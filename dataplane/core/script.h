// Scripts on a core: what the engine (dataplane/script) asks of it, and where they run.
#pragma once

#include "dataplane/core/core.h"

bool script_core_start(struct core *c); // false: memory is short
void script_core_stop(struct core *c);
void script_core_settings(struct core *c); // the configuration changed
void script_services(struct services *services);
