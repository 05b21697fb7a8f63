/* One run of `shoal`: what was asked, where the daemons are, how to answer.
 *
 * Rules for handlers: results go to standard output, progress and remarks to standard error; with
 * -o json or yaml exactly one document goes to standard output. A handler talks to nothing but
 * scheduler and registry (`up` and `down` also start and stop processes). One thread. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>

#include "cli/command.h"
#include "cli/context.h"
#include "cli/session.h"
#include "lib/error.h"

enum cli_exit {
    CLI_DONE,
    CLI_ERROR,
    CLI_USAGE,
    CLI_ROLLOUT_FAILED, /* ERROR_FAILED */
    CLI_NO_ROOM,        /* ERROR_NO_CAPACITY */
};

enum output_format { OUTPUT_TABLE, OUTPUT_WIDE, OUTPUT_JSON, OUTPUT_YAML };
extern const char *const output_format_names[];
bool is_output_format(const char *text);

struct cli {
    const struct invocation *invocation;
    struct settings settings;
    enum output_format format;
    bool colored;          /* standard output is a terminal that may get colours */
    bool colored_progress; /* standard error is one */
    bool wrong_usage;      /* the error is about how the command was typed: exit 2 */
    bool has_document;     /* the one document of -o json has been printed */
    struct session *session;
};

/* Parses, runs and reports; the process's exit code. */
int cli_run(int count, char **words);
/* For a handler that finds an argument it cannot use; returns -1. */
int cli_refuse_usage(struct cli *cli, struct error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The session, made at the first call. */
struct session *cli_session(struct cli *cli);
/* The n-th argument, or NULL. */
const char *cli_argument(const struct cli *cli, size_t index);
/* The first argument as a service's name; NULL with wrong usage when it cannot be one. */
const char *cli_service_argument(struct cli *cli, struct error *error);
bool cli_wants_document(const struct cli *cli);
/* -o json and -o yaml: prints the document and takes its reference. */
void cli_print_document(struct cli *cli, struct json_object *document);

int up_run(struct cli *cli, struct error *error);
int down_run(struct cli *cli, struct error *error);
int doctor_run(struct cli *cli, struct error *error);
int keygen_run(struct cli *cli, struct error *error);
int trust_add_run(struct cli *cli, struct error *error);
int trust_list_run(struct cli *cli, struct error *error);
int trust_remove_run(struct cli *cli, struct error *error);
int policy_apply_run(struct cli *cli, struct error *error);
int policy_list_run(struct cli *cli, struct error *error);
int policy_remove_run(struct cli *cli, struct error *error);
int policy_test_run(struct cli *cli, struct error *error);
int build_run(struct cli *cli, struct error *error);
int push_run(struct cli *cli, struct error *error);
int sign_run(struct cli *cli, struct error *error);
int verify_run(struct cli *cli, struct error *error);
int attach_run(struct cli *cli, struct error *error);
int tree_run(struct cli *cli, struct error *error);
int image_list_run(struct cli *cli, struct error *error);
int image_inspect_run(struct cli *cli, struct error *error);
int image_pull_run(struct cli *cli, struct error *error);
int image_remove_run(struct cli *cli, struct error *error);
int validate_run(struct cli *cli, struct error *error);
int deploy_run(struct cli *cli, struct error *error);
int ps_run(struct cli *cli, struct error *error);
int service_list_run(struct cli *cli, struct error *error);
int status_run(struct cli *cli, struct error *error);
int inspect_run(struct cli *cli, struct error *error);
int history_run(struct cli *cli, struct error *error);
int wake_run(struct cli *cli, struct error *error);
int scale_run(struct cli *cli, struct error *error);
int restart_run(struct cli *cli, struct error *error);
int diff_run(struct cli *cli, struct error *error);
int pause_run(struct cli *cli, struct error *error);
int resume_run(struct cli *cli, struct error *error);
int promote_run(struct cli *cli, struct error *error);
int abort_run(struct cli *cli, struct error *error);
int rollback_run(struct cli *cli, struct error *error);
int remove_run(struct cli *cli, struct error *error);
int job_list_run(struct cli *cli, struct error *error);
int job_run_run(struct cli *cli, struct error *error);
int job_stop_run(struct cli *cli, struct error *error);
int logs_run(struct cli *cli, struct error *error);
int debug_run(struct cli *cli, struct error *error);
int console_run(struct cli *cli, struct error *error);
int top_run(struct cli *cli, struct error *error);
int events_run(struct cli *cli, struct error *error);
int node_list_run(struct cli *cli, struct error *error);
int node_cordon_run(struct cli *cli, struct error *error);
int node_uncordon_run(struct cli *cli, struct error *error);
int node_images_run(struct cli *cli, struct error *error);
int node_drain_run(struct cli *cli, struct error *error);
int node_remove_run(struct cli *cli, struct error *error);
int node_give_up_run(struct cli *cli, struct error *error);
int volume_list_run(struct cli *cli, struct error *error);
int volume_inspect_run(struct cli *cli, struct error *error);
int volume_snapshot_run(struct cli *cli, struct error *error);
int volume_restore_run(struct cli *cli, struct error *error);
int volume_remove_run(struct cli *cli, struct error *error);
int store_backup_run(struct cli *cli, struct error *error);
int store_restore_run(struct cli *cli, struct error *error);
int version_run(struct cli *cli, struct error *error);
int completion_run(struct cli *cli, struct error *error);
int help_run(struct cli *cli, struct error *error);
