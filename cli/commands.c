/* Every command of `shoal`: a row here, with its options (command_options.c), is its parsing, its
 * help and its completion. */
#include "cli/command.h"

#include "cli/cli.h"
#include "cli/command_options.h"
#include "cli/top.h"

#define END                                                                                        \
    {                                                                                              \
        .name = NULL                                                                               \
    }

const char *const output_format_names[] = {"table", "wide", "json", "yaml", NULL};
static const char *const shells[] = {"bash", NULL};
static const char *const kinds[] = {"service", "instance", "node", "key", "policy", "image", NULL};

const struct noun nouns[] = {
    {"cluster", "the daemons of this machine"},
    {"service", "what you deploy: an image, replicas and how to roll them"},
    {"job", "what runs until its work is done, once or by schedule"},
    {"instance", "one running copy of a service"},
    {"image", "unikernel images, local and in the registry"},
    {"key", "signing keys"},
    {"trust", "the keys whose images may boot"},
    {"policy", "what else an image needs to boot"},
    {"node", "the machines that run instances"},
    {"volume", "the disks that services keep their data on"},
    {"event", "what happened"},
    {"store", "what the scheduler knows, on disk"},
    END,
};

const struct command commands[] = {
    {"cluster", "up", "up", "start registry, scheduler and agent on this machine", "",
     .options = up_options, .run = up_run,
     .details =
         "Starts what is not running, waits until the node is ready, and writes the context "
         "`local`.\nPorts, the node's name and what runs its guests are kept with the state: "
         "the next `up` need\nnot be told them. The agent needs root.",
     .examples = "  shoal up\n  shoal up --state /tmp/cluster --scheduler-port 17000"},
    {"cluster", "down", "down", "end the guests and stop the daemons", "", .options = down_options,
     .run = down_run,
     .details =
         "What was deployed is kept on disk: `shoal up` brings it back. The node is the one that "
         "`up` started;\n--node names it where neither its record nor up.json does.",
     .examples = "  shoal down\n  shoal down --keep"},
    {"cluster", "doctor", "doctor", "whether this machine can run guests, and what mends it", "",
     .run = doctor_run,
     .details =
         "Tries what a node needs: boots probe guests (also on KVM, whose answer is kept for the\n"
         "agent's next start), makes a network and removes it, looks at programs, control groups,\n"
         "disk and clock, asks scheduler and registry, and for nodes that are silent. Nothing "
         "that\n"
         "runs is touched. What only root can try is skipped for others. Exit code 1: a check "
         "failed.",
     .examples = "  sudo shoal doctor\n  sudo shoal doctor -o json"},
    {"key", "generate", "keygen", "make a signing key: NAME.key and NAME.pub", "NAME",
     .options = keygen_options, .run = keygen_run,
     .details =
         "ECDSA P-256, PEM; NAME.key is readable by you alone. Never overwrites a key.\nWith "
         "--passphrase, or when COSIGN_PASSWORD is set (an empty one counts), NAME.key is\n"
         "encrypted in cosign's form, and cosign reads it.",
     .examples = "  shoal keygen shoal\n  shoal keygen shoal --passphrase"},
    {"trust", "add", NULL, "let images signed by a key boot", "FILE",
     .argument_kind = ARGUMENT_FILE, .options = trust_add_options, .run = trust_add_run,
     .examples = "  shoal trust add shoal.pub"},
    {"trust", "list", NULL, "the trusted keys", "", .run = trust_list_run},
    {"trust", "rm", NULL, "stop trusting a key, and tell what runs by it", "NAME",
     .options = trust_remove_options, .run = trust_remove_run,
     .details = "Tells the services whose images could not boot any more. What runs of them goes "
                "on, or is\nstopped at once where their policy says `on_revoke: stop`.",
     .examples = "  shoal trust rm ci --dry-run\n  shoal trust rm ci"},
    {"store", "backup", NULL, "copy all that the scheduler knows to a file", "FILE",
     .argument_kind = ARGUMENT_FILE, .run = store_backup_run,
     .details = "As of one moment, while everything goes on. The file is readable by you alone.",
     .examples = "  shoal store backup cluster.backup"},
    {"store", "restore", NULL, "fill an empty store from a backup", "FILE",
     .argument_kind = ARGUMENT_FILE, .options = store_restore_options, .run = store_restore_run,
     .details = "Run where the scheduler is installed, while it does not run. A store that holds "
                "documents is left\nas it is. The restored one begins a new term: agents keep what "
                "runs, and follow it.",
     .examples = "  shoal store restore cluster.backup\n"
                 "  shoal store restore cluster.backup --store etcd:http://10.0.0.1:2379"},
    {"policy", "apply", NULL, "say which images may boot", "", .options = policy_apply_options,
     .run = policy_apply_run,
     .details = "As soon as there is one policy, what no policy matches does not boot. The file "
                "holds one or\nmore: name, match, keys, require, attestations, max_age, families, "
                "registries, mode, on_revoke\n(docs/trust.md).",
     .examples = "  shoal policy apply -f policy.yaml"},
    {"policy", "list", NULL, "the policies", "", .run = policy_list_run},
    {"policy", "inspect", NULL, "one policy as JSON", "NAME", .run = inspect_run},
    {"policy", "rm", NULL, "forget a policy", "NAME", .run = policy_remove_run},
    {"policy", "test", NULL, "say whether an image may boot, and why", "IMAGE",
     .run = policy_test_run,
     .details = "Judges the image that is in the registry now by the keys and policies of now; "
                "exit 1 when it is\nrefused. Changes nothing.",
     .examples = "  shoal policy test hello:1.0\n  shoal policy test hello:1.0 -n team -o json"},
    {"image", "build", "build", "make an image of a folder with a Unikernel.yaml", "DIR",
     .argument_kind = ARGUMENT_FOLDER, .options = build_options, .run = build_run,
     .details =
         "Runs the recipe's `build` commands with SHOAL_ARCH set (like make: do not build what you "
         "do not\ntrust), and packs the files that it names. The same files give the same digest.\n"
         "The image goes to the local store: $SHOAL_IMAGES, or ~/.local/share/shoal/images.",
     .examples = "  shoal build build/examples/hello/v1 -t hello:1.0\n"
                 "  shoal build . -t hello:1.0 --push --sign shoal.key\n"
                 "  shoal build . -t hello:1.0 --arch arm64 --no-build --output ./layout"},
    {"image", "push", "push", "copy a local image to the registry", "REF", .options = push_options,
     .run = push_run,
     .details =
         "--sign signs the image and each of its architectures, as cosign does: `simple` under "
         "the tag\nsha256-<digest>.sig, `bundle` as a referrer.",
     .examples = "  shoal push hello:1.0 --sign shoal.key"},
    {"image", "sign", "sign", "sign an image that is in the registry", "REF",
     .options = sign_options, .run = sign_run,
     .details = "The index and all that it lists. Signatures that are there stay; a key that has "
                "signed already\nadds nothing. An encrypted key's password comes from "
                "COSIGN_PASSWORD, or is asked for.",
     .examples = "  shoal sign hello:1.0 --key shoal.key"},
    {"image", "verify", "verify", "check an image in the registry as a node would", "REF",
     .options = verify_options, .run = verify_run,
     .details = "For each architecture: every digest from the index to the kernel's, and the "
                "signature, by the\nkeys that the cluster trusts or by --key. -o json lists every "
                "signature and attestation.",
     .examples = "  shoal verify hello:1.0\n  shoal verify hello:1.0 --key shoal.pub"},
    {"image", "attach", "attach", "put an SBOM or provenance beside an image in the registry",
     "REF FILE", .options = attach_options, .run = attach_run,
     .details =
         "FILE is JSON: SPDX, CycloneDX, or SLSA v1 provenance (the predicate, or an in-toto "
         "statement\nabout the image). With --sign it becomes an attestation that policies can "
         "ask for.",
     .examples = "  shoal attach hello:1.0 --type spdx sbom.spdx.json --sign shoal.key\n"
                 "  shoal attach hello:1.0 --type slsa provenance.json"},
    {"image", "tree", "tree", "an image in the registry with its parts, signatures and attachments",
     "REF", .run = tree_run,
     .details = "Key ids are what the signatures say; `shoal verify` checks them.",
     .examples = "  shoal tree hello:1.0"},
    {"image", "list", NULL, "local images, or the registry's", "", .options = image_list_options,
     .run = image_list_run},
    {"image", "pull", NULL, "copy an image from the registry to the local store", "REF",
     .run = image_pull_run},
    {"image", "rm", NULL, "remove an image's name", "REF", .options = image_remove_options,
     .run = image_remove_run},
    {"image", "inspect", NULL, "what a kernel, a disk or an image is", "FILE|IMAGE",
     .argument_kind = ARGUMENT_FILE, .options = image_inspect_options, .run = image_inspect_run,
     .details =
         "FILE is a path that exists, or begins with / or ./: its bytes are told apart (family, "
         "boot\nprotocol, architecture, devices), with what was seen. IMAGE is one of the local "
         "store, or with\n--remote of the registry: config, layers and annotations per "
         "architecture.",
     .examples = "  shoal image inspect ./unikernel.elf\n  shoal image inspect disk.qcow2 -o json\n"
                 "  shoal image inspect hello:1.0 --remote"},
    {"service", "validate", "validate", "check a manifest, change nothing", "",
     .options = validate_options, .run = validate_run,
     .examples = "  shoal validate -f service.yaml"},
    {"service", "diff", "diff", "what a manifest would change, key by key", "",
     .options = diff_options, .run = diff_run,
     .details = "Asks the scheduler, which resolves the image and fills in its defaults; changes "
                "nothing. Where\ninstances would go is told by `shoal deploy --plan`.",
     .examples = "  shoal diff -f service.yaml"},
    {"service", "deploy", "deploy", "apply a manifest and wait until it is healthy", "",
     .options = deploy_options, .run = deploy_run,
     .details =
         "Follows the rollout, or a job's run: exit 0 when it succeeded, 3 when it failed or was "
         "rolled back,\n4 when no node has had room for 10 s. Ctrl-C detaches, it goes on.",
     .examples = "  shoal deploy -f service.yaml\n  shoal deploy -f service.yaml --detach"},
    {"service", "ps", "ps", "instances, of one service or of all", "[SERVICE]",
     .options = ps_options, .run = ps_run},
    {"instance", "list", NULL, "instances, of one service or of all", "[SERVICE]",
     .options = ps_options, .run = ps_run},
    {"service", "list", NULL, "the services", "", .run = service_list_run},
    {"service", "status", "status", "a service: rollout, instances, causes, last events", "SERVICE",
     .run = status_run},
    {NULL, "inspect", "inspect", "everything about one object, as JSON", "KIND NAME",
     .argument_choices = kinds, .run = inspect_run,
     .details = "KIND is service, instance, node, key, policy or image (a local one).",
     .examples = "  shoal inspect service hello\n  shoal inspect instance 000100000003 -o yaml"},
    {"service", "inspect", NULL, "one service as JSON", "SERVICE", .run = inspect_run},
    {"instance", "inspect", NULL, "one instance as JSON", "ID", .run = inspect_run},
    {"node", "inspect", NULL, "one node as JSON", "NODE", .run = inspect_run},
    {"key", "inspect", NULL, "one trusted key as JSON", "NAME", .run = inspect_run},
    {"service", "scale", "scale", "set the number of instances and wait for them", "SERVICE=N",
     .options = change_options, .run = scale_run, .examples = "  shoal scale hello=5"},
    {"service", "wake", "wake", "add instances by resuming standbys", "SERVICE[=N]",
     .options = change_options, .run = wake_run,
     .details = "One instance more, or N. A standby (`standby: N` in the manifest) is booted and "
                "paused: it answers\nmilliseconds after it is resumed, and another one takes its "
                "place. Without one a new instance boots.\n`shoal scale hello=0` puts a service to "
                "sleep; its standbys stay.",
     .examples = "  shoal wake hello\n  shoal wake hello=3"},
    {"service", "restart", "restart", "replace every instance by a new one", "SERVICE",
     .options = change_options, .run = restart_run},
    {"service", "pause", "pause", "hold a rollout where it is", "SERVICE", .run = pause_run,
     .details = "Nothing new starts or ends and no deadline runs until `shoal resume`; instances "
                "that fail are still\nreplaced. Does not wait.",
     .examples = "  shoal pause hello"},
    {"service", "resume", "resume", "let a paused rollout go on", "SERVICE",
     .options = change_options, .run = resume_run, .examples = "  shoal resume hello"},
    {"service", "promote", "promote", "let a rollout whose canaries are healthy go on", "SERVICE",
     .options = change_options, .run = promote_run,
     .details = "The canaries become the first of the new instances. `shoal abort` is the other "
                "way.",
     .examples = "  shoal promote hello"},
    {"service", "abort", "abort", "end a rollout and go back to what worked last", "SERVICE",
     .options = change_options, .run = abort_run,
     .details = "Also when it is paused or its canaries wait. Exit 0 once the service is back.",
     .examples = "  shoal abort hello"},
    {"service", "history", "history", "rollouts and revisions", "SERVICE",
     .options = history_options, .run = history_run,
     .examples = "  shoal history hello\n  shoal history hello --diff"},
    {"service", "rollback", "rollback", "return to an earlier revision", "SERVICE",
     .options = rollback_options, .run = rollback_run,
     .examples = "  shoal rollback hello\n  shoal rollback hello --to 3"},
    {"service", "rm", "rm", "end a service and forget it", "SERVICE",
     .options = service_remove_options, .run = remove_run,
     .details = "Its volumes stay, and a service deployed under its name finds them. --volumes "
                "removes them once its\ninstances have ended, or what an earlier `rm` has left."},
    {"job", "run", "run", "begin a run of a job now and wait for its end", "JOB",
     .options = change_options, .run = job_run_run,
     .details = "Exit 0 when every completion succeeded, 3 when the run failed or was stopped. "
                "Ctrl-C detaches,\nthe run goes on. While a run runs, `concurrency` of the "
                "manifest says whether another may.",
     .examples = "  shoal run report\n  shoal job run report --detach"},
    {"job", "list", NULL, "the jobs, when they run next and how they ran last", "",
     .run = job_list_run},
    {"job", "status", NULL, "a job: its newest run, instances, causes, last events", "JOB",
     .run = status_run},
    {"job", "history", NULL, "a job's runs and revisions", "JOB", .run = history_run},
    {"job", "stop", NULL, "end a job's run, and its instances", "JOB", .options = job_stop_options,
     .run = job_stop_run, .examples = "  shoal job stop report\n  shoal job stop report --run 7"},
    {"job", "rm", NULL, "end a job and forget it", "JOB", .options = remove_options,
     .run = remove_run},
    {"service", "logs", "logs", "what a service's guests, or one guest, wrote on the console",
     "SERVICE|INSTANCE", .options = logs_options, .run = logs_run,
     .details = "Of a service: its instances' lines in the order of time, each with the id in "
                "front; --tail is how many of\nall of them together, and with --follow instances "
                "that come later are shown too. Lines like \"-- started --\"\nare the agent's: a "
                "boot, how it ended, what is missing. Times are those of the nodes' clocks. What "
                "cannot\nbe read since a node does not answer is told on standard error, the rest "
                "is shown, and the exit code is 1;\nwith --follow it is told in between, and read "
                "once the node is back.",
     .examples = "  shoal logs -f hello\n  shoal logs --since 10m --timestamps hello\n"
                 "  shoal logs --tail 20 000100000003"},
    {"instance", "logs", NULL, "what one guest wrote on its console", "INSTANCE",
     .options = logs_options, .run = logs_run},
    {"instance", "top", "top", "what instances, services or nodes use just now", "[WHAT] [SERVICE]",
     .argument_choices = top_kind_names, .options = top_options, .run = top_run,
     .details =
         "WHAT is instances (the default), services or nodes. The nodes are asked, which look at "
         "their guests\nevery 5 s: CPU and network are of the time between the last two looks, and "
         "- before that.\nCPU is of one processor; MEMORY is what a microVM has for itself, "
         "RESIDENT "
         "(-o wide) counts what it shares\nwith others too. Nodes that do not answer are told on "
         "standard error; what is printed once is not whole then,\nand exits 1. "
         "Figures of more than 15 s ago are marked: (old 98s).",
     .examples = "  shoal top\n  shoal top hello --sort memory\n  shoal top nodes --once\n"
                 "  shoal top services -o json"},
    {"instance", "console", "console", "attach to a guest's console", "INSTANCE",
     .options = console_options, .run = console_run,
     .details = "Shows what the guest writes from now on, as it comes, and types into it. Ctrl-] "
                "detaches; all other\nkeys, Ctrl-C too, go to the guest. One at a time may write, "
                "several may read. What a guest writes\nreaches the terminal unaltered: for one "
                "that is not trusted, `shoal logs` shows only what is printable.",
     .examples = "  shoal console 000100000003\n  echo 'log on' | shoal console 000100000003\n"
                 "  shoal console --read-only 000100000003"},
    {"instance", "debug", "debug", "let gdb look into a guest", "INSTANCE",
     .options = debug_options, .run = debug_run,
     .details =
         "Switches QEMU's gdb stub on, fetches the image's symbols (its debug part, else the "
         "kernel), and prints\nthe command for gdb (gdb-multiarch where the guest is of another "
         "architecture than this machine). Root's, on the\nnode that the instance runs on. While "
         "the stub is on a guest that stands still is not taken for dead; its\nreadiness is judged "
         "as ever.",
     .examples = "  shoal debug 000100000003\n  shoal debug --stop 000100000003"},
    {"event", "list", "events", "what happened, oldest first", "[SERVICE]",
     .options = events_options, .run = events_run, .examples = "  shoal events -f hello"},
    {"node", "list", NULL, "the nodes and what they have free", "", .run = node_list_run,
     .details = "-o wide adds address, subnet, labels, and what runs the guests and why."},
    {"node", "images", NULL, "the images that a node keeps, and when each was used last", "NODE",
     .run = node_images_run,
     .details = "An image that no instance uses stays until it was not used for the agent's "
                "--image-age, or all take\nmore than its --image-cache: then the least recently "
                "used goes. SIZE counts what images share for each.",
     .examples = "  shoal node images worker-3\n  shoal node images worker-3 -o json"},
    {"node", "cordon", NULL, "place nothing on a node any more", "NODE", .options = cordon_options,
     .run = node_cordon_run, .details = "What runs there goes on. `node uncordon` takes it back.",
     .examples = "  shoal node cordon worker-3 --reason \"disk is failing\""},
    {"node", "uncordon", NULL, "let instances be placed on a node again, or call a drain off",
     "NODE", .run = node_uncordon_run},
    {"node", "drain", NULL, "move everything off a node and wait until it is empty", "NODE",
     .options = drain_options, .run = node_drain_run,
     .details =
         "As a rollout: replacements are ready on other nodes first, within each service's "
         "max_surge and\nmax_unavailable; then what runs there leaves the load balancers, drains "
         "and stops. At --deadline\nwhat is left is stopped. Ctrl-C detaches, the drain goes on; "
         "exit 4 when something has found no\nother place for 10 s. The node stays cordoned.",
     .examples = "  shoal node drain worker-3\n  shoal node drain worker-3 --deadline 10m"},
    {"node", "rm", NULL, "forget a node that was drained or is silent", "NODE",
     .options = node_remove_options, .run = node_remove_run,
     .details =
         "What it ran is replaced elsewhere. Its agent is told to stay away until it is started "
         "anew; its\nsubnet is given to nobody for 10 minutes. A node that reports has to be "
         "drained first, or --force\ngives up what runs there. Slots whose volumes are there "
         "begin anew elsewhere, with empty ones:\nthat takes --force, too.",
     .examples = "  shoal node drain worker-3 && shoal node rm worker-3"},
    {"node", "give-up", NULL, "say that a silent node will not come back: replace what it ran now",
     "NODE", .run = node_give_up_run,
     .details = "Also when rescheduling is frozen because most nodes are silent (`shoal node list` "
                "says so). If\nit comes back all the same, what was replaced is drained and "
                "stopped there.",
     .examples = "  shoal node give-up worker-3"},
    {"volume", "list", NULL, "volumes, who has them and what they take", "[SERVICE]",
     .run = volume_list_run,
     .details = "STATE is in_use (an instance has it), kept (its slot has no instance just now) or "
                "unused (its\nservice or slot is no more). -o wide adds what each node has "
                "promised of its --volumes.\nNodes that do not answer are told on standard "
                "error, and the exit code is 1.",
     .examples = "  shoal volume list\n  shoal volume list counter -o json"},
    {"volume", "inspect", NULL, "one volume and its snapshots", "VOLUME", .options = volume_options,
     .run = volume_inspect_run, .examples = "  shoal volume inspect counter/0/data"},
    {"volume", "snapshot", NULL, "copy a volume as it is now, on its node", "VOLUME@SNAPSHOT",
     .options = volume_options, .run = volume_snapshot_run,
     .details = "The guest that has the volume is paused while what it wrote is copied: the "
                "snapshot holds what a\npower cut would have left. Where the node's disk cannot "
                "let files share what they hold, no guest\nis paused for more than 256 MiB: stop "
                "it first. A copy that takes more than a minute goes on by\nitself, `volume list` "
                "shows it when it is whole.",
     .examples = "  shoal volume snapshot counter/0/data@before-upgrade"},
    {"volume", "restore", NULL, "make a volume what a snapshot of it holds", "VOLUME@SNAPSHOT",
     .options = volume_options, .run = volume_restore_run,
     .details = "Only while no instance has the volume. What it holds now is lost, unless another "
                "snapshot has it.",
     .examples = "  shoal scale counter=0\n  shoal volume restore counter/0/data@before-upgrade\n"
                 "  shoal scale counter=1"},
    {"volume", "rm", NULL, "remove a snapshot, or a volume with its snapshots", "VOLUME[@SNAPSHOT]",
     .options = volume_remove_options, .run = volume_remove_run,
     .details = "A volume that its slot needs is not removed. What is left of a service that is no "
                "more takes --force;\n`shoal rm SERVICE --volumes` removes all of it.",
     .examples = "  shoal volume rm counter/0/data@before-upgrade\n"
                 "  shoal volume rm counter/2/data\n  shoal volume rm old/0/data --force"},
    {"cluster", "version", "version", "this program's version, and the daemons'", "",
     .run = version_run},
    {NULL, "completion", "completion", "a script for the shell's completion", "SHELL [WORD...]",
     .argument_choices = shells, .run = completion_run,
     .examples = "  eval \"$(shoal completion bash)\""},
    {NULL, "help", "help", "help for a command", "[COMMAND...]", .argument_kind = ARGUMENT_COMMAND,
     .run = help_run},
    END,
};
