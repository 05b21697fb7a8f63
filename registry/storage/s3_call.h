/* One call to a bucket: address, signature, further tries, and what a refusal means. Between
 * s3_client.c, which knows the operations, and lib/http_client. Any thread. */
#pragma once

#include "lib/http_client_blocking.h"
#include "registry/storage/s3_client.h"

struct s3_client {
    struct http_blocking_client *http;
    struct s3_credentials credentials;
    char *scheme; /* "https" */
    char *host;   /* as in the Host header */
    char *root;   /* "/bucket/" or "/" */
    char *prefix; /* "" or with a slash at its end */
    char *bucket;
    char *region;
    char *signing; /* "aws:amz:REGION:s3" */
    char *ca;
    int reads; /* enum s3_reads */
    uint64_t redirect_lifetime_s;
    unsigned stall_timeout_s;
};

struct s3_call {
    const char *method;
    const char *key;    /* below the prefix; NULL: the bucket itself */
    const char *query;  /* sorted and encoded; NULL: none */
    const char *header; /* one more, or NULL */
    const char *content_type;
    /* Either is sent. */
    const struct s3_body *file;
    const char *text;
    int (*on_body)(const void *bytes, size_t length, void *data);
    /* Before each try. */
    void (*restart)(void *data);
    void *data;
    /* The endpoint may think for long before it answers ("CompleteMultipartUpload"). */
    bool is_slow;
};

/* "scheme://host/..." of the key. */
char *s3_url(const struct s3_client *client, const char *key);
/* Succeeds with an answer of 2xx, which the caller gives to http_client_release. */
int s3_perform(struct s3_client *client, const struct s3_call *call,
               const struct http_client_response **ret_response, struct error *error);
/* The same where the answer does not matter. */
int s3_perform_only(struct s3_client *client, const struct s3_call *call, struct error *error);
