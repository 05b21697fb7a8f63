/* What the agent's two halves say to each other: fixed-size messages over a SOCK_SEQPACKET pair.
 *
 * The deciding half asks, the host half answers each request exactly once (same `sequence`, type
 * HOST_ANSWER) and reports what happens to microVMs as events (sequence 0). One packet is one
 * struct host_message; descriptors ride along by SCM_RIGHTS. The host half trusts none of it:
 * host_message_check() says whether a message is well formed, and everything that reaches a path, a
 * command line or XML is looked at again where it is used. Either half ends when the other does. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "image-format/family.h"
#include "lib/api/agent.h"
#include "lib/error.h"

#define HOST_PROTOCOL         2
#define HOST_COMMAND_LINE_MAX 2048
#define HOST_MESSAGE_TEXT_MAX 512
#define HOST_REASON_MAX       256
#define HOST_FAMILY_MAX       32
#define HOST_DISKS_MAX        8
#define HOST_MACHINES_MAX     2
#define HOST_VOLUMES_MAX      8
#define HOST_DEVICE_MAX       21 /* a virtio disk's serial has 20 bytes */
#define HOST_SLOT_MAX         1000000
/* Bytes of a packet on the guests' network; guests learn it by command line and DHCP. */
#define HOST_GUEST_MTU 1500

enum host_message_type {
    /* deciding half -> host half */
    HOST_HELLO = 1,   /* answer: host_welcome; before it, one HOST_INSTANCE per adopted microVM */
    HOST_NETWORK,     /* host_network: make the node's namespace and bridge; idempotent */
    HOST_IMPORT,      /* host_import: take staging/<hex> in as a root-owned image file */
    HOST_BOOT,        /* host_boot: answered when the microVM runs, or why it does not */
    HOST_STOP,        /* host_stop: answered at once; HOST_INSTANCE comes when it is gone */
    HOST_FORGET,      /* host_forget: remove tap, files, console log of an ended instance */
    HOST_SOCKET,      /* no body: answer carries a TCP socket opened in the guests' namespace */
    HOST_PROXY_BEGIN, /* host_proxy: a new list of frontends starts */
    HOST_PROXY_FRONTEND, /* host_proxy_frontend */
    HOST_PROXY_SERVER,   /* host_proxy_server, belongs to the last frontend */
    HOST_PROXY_COMMIT,   /* answered when the data plane has applied it all */
    HOST_PROXY_COUNT,    /* host_proxy_count: open connections of one server */
    HOST_DROP,           /* host_drop: remove an image file that no instance needs */
    HOST_VOLUMES,        /* no body: answer carries a file of JSON (lib/api/volumes.h) */
    HOST_VOLUME,         /* host_volume_request: snapshot, restore or remove one */
    HOST_CONSOLE,        /* host_console: answer carries a stream socket to a guest's serial port */
    HOST_DEBUG,          /* host_debug: QEMU's gdb stub on <run>/g/<id>, on or off */
    HOST_PAUSE,          /* host_pause: answered when its guest stands still, or goes on */
    /* host half -> deciding half */
    HOST_ANSWER,   /* host_answer */
    HOST_INSTANCE, /* host_instance: an event, or an adopted microVM */
    HOST_FRONTEND, /* host_frontend: whether a published port is bound */
    HOST_USAGE,    /* host_usage: what some of the microVMs use, every few seconds */
    HOST_IMAGES,   /* host_images: some image files that are here; before HOST_HELLO's answer */
    HOST_NODE,     /* host_node: what the node itself uses, as often */
    /* host_boot_steps: before the answer to HOST_BOOT, and again when the guest has spoken */
    HOST_BOOT_STEPS,
};

/* Guests that can run here. */
struct host_machine {
    char arch[16];  /* amd64 | arm64 */
    char accel[16]; /* kvm | tcg */
};

struct host_welcome {
    uint32_t protocol;
    uint32_t machine_count;
    struct host_machine machines[HOST_MACHINES_MAX]; /* the host's own architecture first */
    char accel_reason[HOST_MESSAGE_TEXT_MAX];        /* why that is not kvm */
    uint64_t memory; /* bytes of the host for guests, reserve taken off */
    uint32_t vcpus;
    uint64_t overhead;                /* bytes a microVM costs beside its guest's memory */
    uint64_t volumes;                 /* bytes that volumes and their snapshots may have together */
    uint64_t volumes_used, snapshots; /* as in host_node */
};

struct host_network {
    char subnet[24]; /* "10.64.0.0/24"; the bridge gets the first address */
};

struct host_import {
    char digest[DIGEST_TEXT_MAX];
    uint64_t size;
};

/* The volume `name` of a slot. */
struct host_volume_key {
    char namespace_name[NAME_MAX_TEXT];
    char service[NAME_MAX_TEXT];
    uint32_t slot;
    char name[NAME_MAX_TEXT];
};

enum host_volume_operation {
    HOST_VOLUME_SNAPSHOT, /* the guest that has the volume is paused meanwhile */
    HOST_VOLUME_RESTORE,
    HOST_VOLUME_REMOVE, /* the snapshot; "": the volume and all of its snapshots */
};

struct host_volume_request {
    uint32_t operation;
    struct host_volume_key key;
    char snapshot[NAME_MAX_TEXT];
};

/* One that a microVM is to have: of the slot that it is booted for. */
struct host_volume {
    char name[NAME_MAX_TEXT];
    char device[HOST_DEVICE_MAX]; /* what the guest knows it by: the disk's serial */
    uint64_t size;                /* bytes, at least */
};

/* Kernel, initrd and disks were imported before, and are hashed again before they boot. Family,
 * architecture, protocol and machine must be a row of the families' table. */
struct host_boot {
    char id[INSTANCE_ID_MAX];
    char family[HOST_FAMILY_MAX];
    char arch[16];
    uint32_t protocol;            /* enum boot_protocol */
    uint32_t machine;             /* enum boot_machine */
    char kernel[DIGEST_TEXT_MAX]; /* "" with BOOT_DISK, and only then */
    char initrd[DIGEST_TEXT_MAX]; /* "": none */
    char disks[HOST_DISKS_MAX][DIGEST_TEXT_MAX];
    uint32_t disk_count;
    char image[DIGEST_TEXT_MAX]; /* pinned; goes into the domain's metadata */
    char command_line[HOST_COMMAND_LINE_MAX];
    char mac[18];              /* 52: and the id's last 10 digits */
    char address[ADDRESS_MAX]; /* no other may be used by the guest */
    uint64_t memory;           /* bytes */
    uint32_t vcpus;
    /* Whose volumes it gets; read only where there are any. */
    char namespace_name[NAME_MAX_TEXT];
    char service[NAME_MAX_TEXT];
    uint32_t slot;
    struct host_volume volumes[HOST_VOLUMES_MAX];
    uint32_t volume_count;
};

enum host_stop_method {
    HOST_STOP_KILL,    /* at once */
    HOST_STOP_CONSOLE, /* byte 0x04 on the console, kill after grace */
    HOST_STOP_ACPI,    /* the power button, kill after grace */
};

struct host_stop {
    char id[INSTANCE_ID_MAX];
    uint32_t method;
    uint64_t grace_ms;
    char reason[HOST_REASON_MAX]; /* for people, in the guest's log; "": none */
};

struct host_forget {
    char id[INSTANCE_ID_MAX];
};

struct host_console {
    char id[INSTANCE_ID_MAX];
};

struct host_debug {
    char id[INSTANCE_ID_MAX];
    uint32_t open; /* else it is switched off */
};

struct host_pause {
    char id[INSTANCE_ID_MAX];
    uint32_t paused; /* 1, or 0: it goes on */
};

struct host_proxy {
    uint64_t revision;
};

struct host_proxy_frontend {
    char name[2 * NAME_MAX_TEXT + 1]; /* <namespace>.<service>, for HAProxy's own names */
    uint32_t publish;
    uint32_t mode; /* enum api_port_mode */
};

struct host_proxy_server {
    char id[INSTANCE_ID_MAX];
    char address[ADDRESS_MAX];
    uint32_t port;
    uint32_t state;  /* enum api_server_state */
    uint32_t weight; /* 0 to API_SERVER_WEIGHT_MAX */
};

struct host_proxy_count {
    char id[INSTANCE_ID_MAX];
};

struct host_drop {
    char digest[DIGEST_TEXT_MAX];
};

struct host_answer {
    uint32_t code; /* enum error_code; ERROR_NONE: it worked */
    char message[HOST_MESSAGE_TEXT_MAX];
    uint32_t number; /* HOST_PROXY_COUNT: connections; HOST_VOLUME: of the slot, after a removal */
    struct host_welcome welcome; /* HOST_HELLO */
};

enum host_instance_state {
    HOST_INSTANCE_RUNNING, /* adopted: it runs since `uptime_ms` */
    HOST_INSTANCE_PAUSED,  /* adopted: the same, and its guest stands still */
    HOST_INSTANCE_ENDED,
    HOST_INSTANCE_HANGS, /* a call about it does not return: `message` says which */
};

enum host_end_cause {
    HOST_END_GUEST_EXIT,  /* the guest powered off by itself, or said that it has ended */
    HOST_END_GUEST_PANIC, /* it told of a panic by pvpanic */
    HOST_END_KILLED,      /* the hypervisor's process died or was killed by somebody else */
    HOST_END_STOPPED,     /* we stopped it: it ended within its grace */
    HOST_END_STOP_KILLED, /* we stopped it: its grace passed and it was killed */
    HOST_END_GUEST_RESET, /* it reset its machine, and its family's guests power off to end */
    HOST_END_OOM,         /* the kernel killed the hypervisor's process for its memory */
    HOST_END_HUNG,        /* the hypervisor's process was stopped by somebody, and killed by us */
};

struct host_instance {
    char id[INSTANCE_ID_MAX];
    uint32_t state;
    uint32_t cause;
    uint64_t uptime_ms;
    char kernel[DIGEST_TEXT_MAX]; /* adopted: from the domain's metadata; "" as in host_boot */
    char image[DIGEST_TEXT_MAX];
    char message[HOST_MESSAGE_TEXT_MAX];
    uint32_t debugged; /* adopted: its gdb stub is on */
};

struct host_frontend {
    uint32_t publish;
    uint32_t bound;
    char message[HOST_MESSAGE_TEXT_MAX];
};

/* What one running microVM has used since it booted, seen from the guest. */
struct host_usage_entry {
    char id[INSTANCE_ID_MAX];
    uint64_t cpu_ns;         /* of the hypervisor's process */
    uint64_t memory;         /* bytes it has resident, shared files included */
    uint64_t memory_private; /* the same without files */
    uint64_t received_bytes, received_packets, received_drops;
    uint64_t sent_bytes, sent_packets, sent_drops;
    uint32_t disks; /* whose use is known; 0: it has none, or it is not known just now */
    uint64_t read_bytes, read_operations;
    uint64_t written_bytes, write_operations;
};

#define HOST_USAGE_ENTRIES 16
struct host_usage {
    uint64_t taken_ns; /* CLOCK_MONOTONIC */
    uint32_t count;
    struct host_usage_entry entries[HOST_USAGE_ENTRIES];
};

struct host_image {
    char digest[DIGEST_TEXT_MAX];
    uint64_t size;
    uint64_t age_ms; /* since it was imported or read, as far as the file system tells */
};

#define HOST_IMAGES_ENTRIES 40
struct host_images {
    uint32_t count;
    struct host_image entries[HOST_IMAGES_ENTRIES];
};

#define HOST_PROCESSORS_MAX 65536
/* The machine, and what the agent takes of it. */
struct host_node {
    uint64_t taken_ns; /* CLOCK_MONOTONIC */
    uint32_t processors;
    uint64_t cpu_ns; /* that all processors were busy since the machine began */
    uint64_t memory, memory_available;
    uint64_t disk, disk_available; /* of the state folder's file system */
    uint64_t agent_cpu_ns;         /* of both halves, since they began */
    uint64_t agent_memory_private;
    uint64_t volumes_used; /* bytes: volumes by their size, snapshots by what they take */
    uint64_t snapshots;    /* of it, those */
};

/* How long the steps of a boot took, in microseconds. */
struct host_boot_steps {
    char id[INSTANCE_ID_MAX];
    uint64_t queue_us;        /* until a thread was free for it */
    uint64_t create_us;       /* files, tap, the hypervisor's process */
    uint64_t start_us;        /* console, lease, network: until the guest is told to go */
    uint64_t first_packet_us; /* since then; 0: none yet */
};

struct host_message {
    uint32_t type;
    uint32_t reserved;
    uint64_t sequence;
    union {
        struct host_network network;
        struct host_import import;
        struct host_boot boot;
        struct host_stop stop;
        struct host_forget forget;
        struct host_console console;
        struct host_debug debug;
        struct host_pause pause;
        struct host_proxy proxy;
        struct host_proxy_frontend proxy_frontend;
        struct host_proxy_server proxy_server;
        struct host_proxy_count proxy_count;
        struct host_drop drop;
        struct host_volume_request volume;
        struct host_images images;
        struct host_answer answer;
        struct host_instance instance;
        struct host_frontend frontend;
        struct host_usage usage;
        struct host_node node;
        struct host_boot_steps boot_steps;
    };
};

/* Whether every field of a received message is in range and every text ends and is of its form:
 * names, ids, digests, addresses, MACs, no control characters. */
int host_message_check(const struct host_message *message, struct error *error);
/* Whether it may become a path. */
bool host_volume_key_is_valid(const struct host_volume_key *key);
/* Sends one message, with a descriptor when `descriptor` >= 0 (which stays the caller's). Blocks
 * for as long as the peer does not read; ERROR_UNAVAILABLE when it is gone. */
int host_message_send(int channel, const struct host_message *message, int descriptor,
                      struct error *error);
/* Receives one message: 1, or 0 when the peer is gone or (non-blocking) ERROR_TIMEOUT by -1 when
 * nothing is there. The caller closes `ret_descriptor` (-1: none). */
int host_message_receive(int channel, struct host_message *ret_message, int *ret_descriptor,
                         struct error *error);
/* "52:" and the last ten digits of an instance's id in pairs. */
void host_mac_of_instance(const char *id, char ret_mac[18]);
