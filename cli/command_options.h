/* The options of each command of the table (commands.c), where it has any. Constants; ends with a
 * NULL name each. */
#pragma once

#include "cli/command.h"

extern const struct option up_options[];
extern const struct option down_options[];
extern const struct option keygen_options[];
extern const struct option build_options[];
extern const struct option push_options[];
extern const struct option sign_options[];
extern const struct option verify_options[];
extern const struct option attach_options[];
extern const struct option image_list_options[];
extern const struct option image_inspect_options[];
extern const struct option image_remove_options[];
extern const struct option trust_add_options[];
extern const struct option trust_remove_options[];
extern const struct option policy_apply_options[];
extern const struct option validate_options[];
extern const struct option diff_options[];
extern const struct option history_options[];
extern const struct option deploy_options[];
extern const struct option change_options[];
extern const struct option rollback_options[];
extern const struct option remove_options[];
extern const struct option service_remove_options[];
extern const struct option volume_options[];
extern const struct option volume_remove_options[];
extern const struct option ps_options[];
extern const struct option logs_options[];
extern const struct option top_options[];
extern const struct option debug_options[];
extern const struct option console_options[];
extern const struct option events_options[];
extern const struct option node_remove_options[];
extern const struct option cordon_options[];
extern const struct option drain_options[];
extern const struct option store_restore_options[];
extern const struct option job_stop_options[];
