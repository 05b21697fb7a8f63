/* What the operator says about the bucket (docs/registry.md, "Blobs on S3"), and the keys to it.
 * Any thread; a loaded struct does not change. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/error.h"
#include "lib/json.h"

enum s3_reads {
    S3_READS_PROXY,    /* the registry passes bytes on */
    S3_READS_REDIRECT, /* clients are sent to the bucket, by URLs that hold for a while */
};

enum s3_addressing {
    S3_ADDRESSING_PATH, /* https://endpoint/bucket/key */
    S3_ADDRESSING_HOST, /* https://bucket.endpoint/key */
};

struct s3_settings {
    char *endpoint; /* "https://s3.eu-central-1.amazonaws.com": scheme, host, perhaps a port */
    char *region;   /* NULL: "us-east-1" */
    char *bucket;
    char *prefix;               /* in front of every key; a slash is added; NULL: none */
    int addressing;             /* enum s3_addressing */
    char *credentials;          /* a file; NULL: the environment's AWS_... */
    char *ca;                   /* PEM file; NULL: the system's authorities */
    int reads;                  /* enum s3_reads */
    uint64_t redirect_lifetime; /* milliseconds; 0: 20 minutes */
    uint64_t stall_timeout;     /* milliseconds in which bytes must move; 0: 20 seconds */
};

extern const struct json_record s3_settings_record;

/* What the json_record cannot say. ERROR_INVALID names the key. */
int s3_settings_check(const struct s3_settings *settings, struct error *error);

struct s3_credentials {
    char *access_key_id;
    char *secret_access_key;
    char *session_token; /* NULL: none */
};

/* From a file that only its owner may read (JSON, or lines "access_key_id = ..." as in AWS' own
 * files), or from the environment. */
int s3_credentials_load(const char *path, struct s3_credentials *ret_credentials,
                        struct error *error);
void s3_credentials_release(struct s3_credentials *credentials);
