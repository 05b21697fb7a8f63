/* Client of an OCI registry (distribution spec 1.1), on the loop: what CLI, scheduler and agent
 * share. It checks every digest it is given against the bytes it received.
 *
 * Loop thread only. Every call ends in exactly one callback, later, unless it is cancelled with
 * all the others. Temporary failures (no connection, 5xx, 429) are retried with back-off up to
 * `attempts` times; a pull resumes by Range where it broke off. A registry that asks who is there
 * (401) is answered once a call: by a token from where its challenge says, or by name and
 * password. */
#pragma once

#include <stdint.h>
#include <sys/queue.h>

#include "lib/crypto.h"
#include "lib/error.h"
#include "lib/http_client.h"

struct oci_client;

struct oci_client_options {
    struct http_client *http;
    const char *url;   /* "http://127.0.0.1:5000", no trailing slash */
    unsigned attempts; /* 0: 5 */
    /* A transfer in which nothing comes or goes for so long has failed, for now; 0: 30 s. */
    unsigned stall_timeout_s;
    /* Who the registry is told it is, when it asks; NULL: nobody (a registry may give tokens to
     * anyone). Copied. */
    const char *username;
    const char *password;
};

/* What a call ends with; bytes live during the callback only. */
struct oci_result {
    const struct error *error; /* NULL: it worked */
    char digest[DIGEST_TEXT_MAX];
    const char *media_type; /* manifests */
    const char *bytes;      /* manifests and small blobs */
    uint64_t size;
};

typedef void oci_callback(const struct oci_result *result, void *data);
/* Progress of a transfer, for people. */
typedef void oci_progress(uint64_t done, uint64_t total, void *data);

struct oci_client *oci_client_create(const struct oci_client_options *options);
/* Cancels what runs: callbacks do not come any more. NULL is fine. */
void oci_client_cancel_all(struct oci_client *client);
/* Cancels all, too. Before its http client is destroyed. */
void oci_client_destroy(struct oci_client *client);

/* For who keeps something of their own across several calls: `on_destroy` runs when all calls are
 * cancelled, unless the hook was removed before. */
struct oci_client_hook {
    void (*on_destroy)(struct oci_client_hook *hook);
    LIST_ENTRY(oci_client_hook) link;
};
void oci_client_add_hook(struct oci_client *client, struct oci_client_hook *hook);
void oci_client_remove_hook(struct oci_client_hook *hook);

/* `reference` is a tag or a digest; a digest is verified. Not found: ERROR_NOT_FOUND. */
void oci_client_get_manifest(struct oci_client *client, const char *repository,
                             const char *reference, oci_callback *callback, void *data);
/* A blob of at most `limit` bytes in memory, verified. */
void oci_client_get_blob(struct oci_client *client, const char *repository, const char *digest,
                         uint64_t limit, oci_callback *callback, void *data);
/* A blob of exactly `size` bytes into the file `path`, mode 0600, verified before it gets that
 * name; bytes so far are kept in "<path>.partial" and resumed. */
void oci_client_pull_blob(struct oci_client *client, const char *repository, const char *digest,
                          uint64_t size, const char *path, oci_progress *progress,
                          oci_callback *callback, void *data);
/* Uploads unless the registry has it (HEAD). `path` NULL: `bytes` (copied) instead. */
void oci_client_push_blob(struct oci_client *client, const char *repository, const char *digest,
                          uint64_t size, const char *path, const void *bytes,
                          oci_progress *progress, oci_callback *callback, void *data);
/* PUT manifests/<reference>; bytes are copied. */
void oci_client_push_manifest(struct oci_client *client, const char *repository,
                              const char *reference, const char *media_type, const void *bytes,
                              size_t length, oci_callback *callback, void *data);
/* Bytes are {"name", "tags": [...]}: all pages joined. */
void oci_client_list_tags(struct oci_client *client, const char *repository, oci_callback *callback,
                          void *data);
/* Repositories of the registry (`_catalog`): {"repositories": [...]}. */
void oci_client_list_repositories(struct oci_client *client, oci_callback *callback, void *data);
/* What refers to the manifest `digest` (distribution spec 1.1, "Listing Referrers"): bytes are an
 * index of at most OCI_REFERRERS_MAX descriptors, all pages joined. Where the registry has no such
 * list, what is under the tag that stands in for it ("Referrers Tag Schema"); none is an empty
 * index. `artifact_type` NULL: of any type; else only of this, and the registry may ignore it. */
#define OCI_REFERRERS_MAX 1000
void oci_client_list_referrers(struct oci_client *client, const char *repository,
                               const char *digest, const char *artifact_type,
                               oci_callback *callback, void *data);
