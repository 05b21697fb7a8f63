/* What the operator asks of the registry: one JSON file (docs/registry.md, "Settings"), the
 * command line's options on top. Each part of the registry describes its own section by a struct
 * and a json_record; this file puts them together. Read at the start and again on SIGHUP; a loaded
 * struct does not change. Any thread. */
#pragma once

#include "lib/error.h"
#include "lib/http_server.h"
#include "lib/json.h"
#include "registry/access/access.h"
#include "registry/storage/s3_settings.h"
#include "registry/upkeep/collector.h"
#include "registry/upkeep/policies.h"

struct listen_settings {
    char address[64]; /* numeric */
    uint32_t port;    /* 0: any free one */
};

struct tls_settings {
    char *certificate; /* PEM chain; NULL: no TLS */
    char *key;
    char *client_ca;         /* PEM bundle that client certificates must lead to */
    int client_certificates; /* enum http_client_certificates */
};

struct limit_settings {
    uint32_t connections;
    uint32_t connections_per_address; /* 0: as many as there are */
    uint32_t requests_per_second;     /* of one address; 0: no limit */
    uint32_t burst;                   /* requests at once before the rate counts */
    uint64_t slow_window;             /* milliseconds in which a request must move slow_bytes */
    uint64_t slow_bytes;
};

struct log_settings {
    char *access; /* a file that gets one line a request; NULL: none */
    int level;    /* enum log_level */
};

enum storage_backend {
    STORAGE_FILES, /* below the state folder */
    STORAGE_S3,
};

struct storage_settings {
    int backend; /* enum storage_backend */
    struct s3_settings s3;
};

struct registry_settings {
    char *state; /* folder of metadata, uploads and, with the files backend, blobs */
    struct listen_settings listen;
    struct tls_settings tls;
    struct access_settings access;
    bool has_tls, has_access; /* the file has the section: an empty one is a mistake */
    struct limit_settings limits;
    struct log_settings log;
    struct storage_settings storage;
    struct collector_settings collection;
    struct policy *policies;
    size_t policy_count;
};

/* Defaults, then what the file (NULL: none) says. ERROR_INVALID names the place in the file. */
int registry_settings_load(const char *path, struct registry_settings *ret_settings,
                           struct error *error);
/* What only makes sense together: after the options were put on top. */
int registry_settings_check(const struct registry_settings *settings, struct error *error);
/* The names of what differs in `loaded` and cannot be taken over by a registry that runs with
 * `running` ("listen.port, limits.burst"); NULL: nothing. The caller frees them. */
char *registry_settings_pending(const struct registry_settings *running,
                                const struct registry_settings *loaded);
/* A deep copy. */
void registry_settings_copy(const struct registry_settings *settings,
                            struct registry_settings *ret_copy);
void registry_settings_release(struct registry_settings *settings);
