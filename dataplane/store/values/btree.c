#include "dataplane/store/values/btree.h"
