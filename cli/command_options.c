#include "cli/command_options.h"

#include "cli/cli.h"
#include "cli/signing.h"
#include "cli/top.h"
#include "image-format/attachment.h"
#include "image-format/recipe.h"

#define END                                                                                        \
    {                                                                                              \
        .name = NULL                                                                               \
    }
#define PORT_MAX 65535

static const char *const accelerators[] = {"auto", "kvm", "tcg", NULL};
static const char *const hypervisors[] = {"qemu", "libvirt", NULL};

const struct option global_options[] = {
    {"address", 0, OPTION_TEXT, .value = "URL[,URL...]",
     .help = "the scheduler, or several: the first that answers is asked (else SHOAL_ADDRESS, "
             "context, 127.0.0.1:7000)"},
    {"registry", 0, OPTION_TEXT, .value = "URL",
     .help = "the registry (else SHOAL_REGISTRY, "
             "context, 127.0.0.1:5000)"},
    {"namespace", 'n', OPTION_TEXT, .value = "NS", .help = "the namespace (default: default)"},
    {"output", 'o', OPTION_CHOICE, .value = "FORMAT", .help = "how to print",
     .choices = output_format_names},
    {"state", 0, OPTION_FOLDER, .value = "DIR",
     .help = "up, down, doctor, store restore: the daemons' state "
             "(default: /var/lib/shoal)"},
    {"no-color", 0, OPTION_FLAG, .help = "no colours (also: NO_COLOR)"},
    {"help", 'h', OPTION_FLAG, .help = "this text"},
    END,
};

const struct option up_options[] = {
    {"registry-port", 0, OPTION_NUMBER, .value = "PORT", .help = "default 5000", .min = 1,
     .max = PORT_MAX},
    {"scheduler-port", 0, OPTION_NUMBER, .value = "PORT", .help = "default 7000", .min = 1,
     .max = PORT_MAX},
    {"agent-port", 0, OPTION_NUMBER, .value = "PORT", .help = "default 7001", .min = 1,
     .max = PORT_MAX},
    {"node", 0, OPTION_TEXT, .value = "NAME", .help = "this machine's name as a node"},
    {"accelerator", 0, OPTION_CHOICE, .value = "ACCEL", .help = "what runs the guests",
     .choices = accelerators},
    {"hypervisor", 0, OPTION_CHOICE, .value = "NAME", .help = "what starts the guests",
     .choices = hypervisors},
    {"timeout", 0, OPTION_DURATION, .value = "TIME", .help = "for each daemon (default 1m)"},
    END,
};

const struct option down_options[] = {
    {"keep", 0, OPTION_FLAG, .help = "leave the guests running"},
    {"node", 0, OPTION_TEXT, .value = "NAME", .help = "the node to clean when its record is lost"},
    END,
};

const struct option keygen_options[] = {
    {"passphrase", 0, OPTION_FLAG, .help = "encrypt it, asking for a password twice"},
    END,
};

const struct option build_options[] = {
    {"tag", 't', OPTION_TEXT, true, .value = "REF", .help = "the image's name, hello:1.0"},
    {"arch", 0, OPTION_CHOICE, .value = "ARCH", .help = "for this architecture only",
     .choices = recipe_architecture_names},
    {"no-build", 0, OPTION_FLAG, .help = "take the files that are there, run no build command"},
    {"compress", 0, OPTION_CHOICE, .value = "HOW",
     .help = "the layers (default: as the recipe says)", .choices = recipe_compression_names},
    {"output", 0, OPTION_FILE, .value = "DIR|FILE.tar",
     .help = "write it there too, as an OCI layout"},
    {"push", 0, OPTION_FLAG, .help = "push it to the registry as well"},
    {"provenance", 0, OPTION_FLAG, .help = "say beside it how it was made (SLSA v1)"},
    {"sign", 0, OPTION_FILE, .value = "KEY", .help = "sign what is pushed, and the provenance"},
    END,
};

const struct option push_options[] = {
    {"sign", 0, OPTION_FILE, .value = "KEY", .help = "sign it with this private key"},
    {"format", 0, OPTION_CHOICE, .value = "FORM", .help = "of the signatures (default both)",
     .choices = signing_form_names},
    END,
};

const struct option sign_options[] = {
    {"key", 0, OPTION_FILE, true, .value = "KEY", .help = "the private key"},
    {"renew", 0, OPTION_FLAG, .help = "sign again, with the time of now: for a policy's max_age"},
    {"format", 0, OPTION_CHOICE, .value = "FORM", .help = "of the signatures (default both)",
     .choices = signing_form_names},
    END,
};

const struct option verify_options[] = {
    {"key", 0, OPTION_FILE, .value = "PUB", .help = "a public key instead of the cluster's"},
    {"arch", 0, OPTION_TEXT, .value = "ARCH", .help = "this architecture only (default: all)"},
    END,
};

const struct option attach_options[] = {
    {"type", 0, OPTION_CHOICE, true, .value = "TYPE", .help = "what the file is",
     .choices = attachment_type_names},
    {"sign", 0, OPTION_FILE, .value = "KEY",
     .help = "as an attestation signed by this private key"},
    {"arch", 0, OPTION_TEXT, .value = "ARCH",
     .help = "to this architecture's manifest (default: the whole image)"},
    END,
};

const struct option image_list_options[] = {
    {"remote", 0, OPTION_FLAG, .help = "the registry's images instead of the local ones"},
    END,
};

const struct option image_inspect_options[] = {
    {"remote", 0, OPTION_FLAG, .help = "an image in the registry"},
    END,
};

const struct option image_remove_options[] = {
    {"remote", 0, OPTION_FLAG, .help = "from the registry instead of the local store"},
    END,
};

const struct option trust_add_options[] = {
    {"name", 0, OPTION_TEXT, .value = "NAME", .help = "the key's name (default: the file's)"},
    END,
};

const struct option trust_remove_options[] = {
    {"dry-run", 0, OPTION_FLAG, .help = "only tell what would happen"},
    END,
};

const struct option policy_apply_options[] = {
    {"file", 'f', OPTION_FILE, true, .value = "FILE", .help = "policies; - is standard input"},
    END,
};

const struct option validate_options[] = {
    {"file", 'f', OPTION_FILE, true, .value = "FILE", .help = "the manifest; - is standard input"},
    {"cluster", 0, OPTION_FLAG, .help = "ask the scheduler too: image, signature, ports"},
    END,
};

const struct option diff_options[] = {
    {"file", 'f', OPTION_FILE, true, .value = "FILE", .help = "the manifest; - is standard input"},
    END,
};

const struct option history_options[] = {
    {"diff", 0, OPTION_FLAG, .help = "what changed from each revision to the next"},
    END,
};

const struct option deploy_options[] = {
    {"file", 'f', OPTION_FILE, true, .value = "FILE", .help = "the manifest; - is standard input"},
    {"plan", 0, OPTION_FLAG,
     .help = "tell what would change and where it would go, change nothing"},
    {"detach", 0, OPTION_FLAG, .help = "do not wait for the rollout"},
    {"wait-for-room", 0, OPTION_FLAG, .help = "stay when no node has room"},
    {"timeout", 0, OPTION_DURATION, .value = "TIME", .help = "stop waiting after so long"},
    END,
};

const struct option change_options[] = {
    {"detach", 0, OPTION_FLAG, .help = "do not wait"},
    {"wait-for-room", 0, OPTION_FLAG, .help = "stay when no node has room"},
    {"timeout", 0, OPTION_DURATION, .value = "TIME", .help = "stop waiting after so long"},
    END,
};

const struct option rollback_options[] = {
    {"to", 0, OPTION_NUMBER, .value = "REVISION",
     .help = "which one (default: the newest other "
             "one that succeeded)",
     .min = 1, .max = UINT32_MAX},
    {"detach", 0, OPTION_FLAG, .help = "do not wait"},
    {"wait-for-room", 0, OPTION_FLAG, .help = "stay when no node has room"},
    {"timeout", 0, OPTION_DURATION, .value = "TIME", .help = "stop waiting after so long"},
    END,
};

const struct option remove_options[] = {
    {"detach", 0, OPTION_FLAG, .help = "do not wait until its instances have ended"},
    {"timeout", 0, OPTION_DURATION, .value = "TIME", .help = "stop waiting after so long"},
    END,
};

const struct option service_remove_options[] = {
    {"detach", 0, OPTION_FLAG, .help = "do not wait until its instances have ended"},
    {"timeout", 0, OPTION_DURATION, .value = "TIME", .help = "stop waiting after so long"},
    {"volumes", 0, OPTION_FLAG, .help = "remove its volumes and their snapshots too"},
    END,
};

const struct option volume_options[] = {
    {"node", 0, OPTION_TEXT, .value = "NODE", .help = "whose, where several have one of that name"},
    END,
};

const struct option volume_remove_options[] = {
    {"node", 0, OPTION_TEXT, .value = "NODE", .help = "whose, where several have one of that name"},
    {"force", 0, OPTION_FLAG, .help = "also what is left of a service that is no more"},
    END,
};

const struct option ps_options[] = {
    {"all", 'a', OPTION_FLAG, .help = "those that are over too"},
    END,
};

const struct option logs_options[] = {
    {"follow", 'f', OPTION_FLAG, .help = "go on with what comes"},
    {"tail", 0, OPTION_NUMBER, .value = "N",
     .help = "the last N lines, of all instances together (default 100; with --since all)",
     .max = 100000},
    {"since", 0, OPTION_TEXT, .value = "TIME",
     .help = "what came since: 10m, 2026-11-26T02:14:50Z"},
    {"timestamps", 't', OPTION_FLAG, .help = "each line with its time (UTC)"},
    END,
};

const struct option top_options[] = {
    {"once", 0, OPTION_FLAG, .help = "print once, as when it does not print to a terminal"},
    {"sort", 0, OPTION_CHOICE, .value = "BY", .help = "largest first (default cpu)",
     .choices = top_order_names},
    {"interval", 0, OPTION_DURATION, .value = "TIME", .help = "between two looks (default 2s)"},
    END,
};

const struct option debug_options[] = {
    {"stop", 0, OPTION_FLAG, .help = "switch the stub off: breakpoints go, the guest runs on"},
    END,
};

const struct option console_options[] = {
    {"read-only", 0, OPTION_FLAG, .help = "only show what it writes; others may be attached"},
    {"wait", 0, OPTION_DURATION, .value = "TIME",
     .help = "how long to go on after the end of a piped input (1s)"},
    END,
};

const struct option events_options[] = {
    {"follow", 'f', OPTION_FLAG, .help = "go on with what comes"},
    {"tail", 0, OPTION_NUMBER, .value = "N", .help = "the last N only", .max = 1000000},
    {"after", 0, OPTION_NUMBER, .value = "SEQUENCE",
     .help = "what came after this event (`sequence` in -o json)", .max = INT64_MAX},
    END,
};

const struct option node_remove_options[] = {
    {"force", 0, OPTION_FLAG, .help = "also while it reports and is not drained, or has volumes"},
    END,
};

const struct option cordon_options[] = {
    {"reason", 0, OPTION_TEXT, .value = "TEXT", .help = "why, for people"},
    END,
};

const struct option drain_options[] = {
    {"deadline", 0, OPTION_DURATION, .value = "TIME",
     .help = "stop what is left after so long (default: never)"},
    {"reason", 0, OPTION_TEXT, .value = "TEXT", .help = "why, for people"},
    {"detach", 0, OPTION_FLAG, .help = "do not wait until it is empty"},
    {"wait-for-room", 0, OPTION_FLAG, .help = "stay when no node has room"},
    {"timeout", 0, OPTION_DURATION, .value = "TIME", .help = "stop waiting after so long"},
    END,
};

const struct option store_restore_options[] = {
    {"store", 0, OPTION_TEXT, .value = "PLACE",
     .help =
         "sqlite:FOLDER or etcd:http://HOST:2379[,...], as the scheduler's own option (default: "
         "sqlite: and the folder that `up` gives it)"},
    END,
};

const struct option job_stop_options[] = {
    {"run", 0, OPTION_NUMBER, .value = "N", .help = "this one only (default: all that run)",
     .min = 1, .max = UINT32_MAX},
    END,
};
