// What the files of ACL share. The table is in acl_table.c.
#pragma once

#include "dataplane/commands/command.h"

// acl.c: users
void acl_adopt_part(struct request *r); // of what changes users
bool acl_deluser_start(struct request *r);
void acl_deluser_part(struct request *r);
void acl_deluser_command(struct request *r);
void acl_getuser_command(struct request *r);
void acl_list_command(struct request *r);
void acl_load_command(struct request *r);
void acl_save_command(struct request *r);
bool acl_setuser_start(struct request *r);
void acl_setuser_command(struct request *r);
void acl_users_command(struct request *r);
void acl_whoami_command(struct request *r);

// acl_tell.c: questions, and the log
void acl_cat_command(struct request *r);
void acl_dryrun_command(struct request *r);
void acl_genpass_command(struct request *r);
void acl_help_command(struct request *r);
void acl_log_command(struct request *r);
