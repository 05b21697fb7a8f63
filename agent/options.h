/* The agent's command line. */
#pragma once

#include "lib/addresses.h"
#include "lib/api/agent.h"
#include "lib/log.h"

struct agent_options {
    char node[NAME_MAX_TEXT];
    struct addresses schedulers;
    char *state; /* absolute */
    char *run;
    char *address;
    uint16_t port;
    char *publish_address;
    char *hypervisor;     /* qemu | libvirt */
    char *hypervisor_uri; /* of libvirt's driver */
    char *accelerator;    /* auto | kvm | tcg */
    uint64_t memory;      /* 0: what the host half finds */
    uint32_t vcpus;       /* 0: the same */
    uint64_t volumes;     /* bytes that volumes may have together; 0: the host half decides */
    struct json_map labels;
    char *trust_directory; /* NULL: none */
    char *registry_auth;   /* file of logins for registries; NULL: none */
    uint64_t log_size;     /* bytes of one file of a console's log */
    uint32_t log_files;    /* of one instance */
    enum log_level log_level;
    bool has_image_cache; /* else the keeper's own limit */
    uint64_t image_cache; /* bytes of images that are kept */
    uint64_t image_age_ms;
    bool probe; /* say what the machine has, and exit */
    bool clean;
    bool help;
    bool version;
    int decider_channel; /* -1: this process is the host half */
};

extern const char agent_options_usage[];

/* Fills in defaults; the caller releases the options. ERROR_INVALID says what is allowed. */
int agent_options_parse(int argc, char **argv, struct agent_options *ret_options,
                        struct error *error);
void agent_options_release(struct agent_options *options);
