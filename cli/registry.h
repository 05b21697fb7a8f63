/* Blocking calls to a registry, by the session's loop, with progress for people. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/cli.h"
#include "cli/progress.h"
#include "image-format/chain.h"
#include "lib/image_client.h"
#include "lib/image_reference.h"
#include "lib/oci_client.h"

/* An image in the registry that its name says. */
struct registry {
    struct cli *cli;
    struct oci_client *client;
    char url[ADDRESS_TEXT_MAX];
    struct image_reference image;
    struct progress progress;
    const char *doing; /* "pushing default/hello:1.0": stands in front of progress */
};

/* Bytes of a manifest; release with free(bytes). */
struct registry_manifest {
    char digest[DIGEST_TEXT_MAX];
    char media_type[128];
    char *bytes; /* ends with a NUL */
    size_t length;
};

/* http for this machine, https for all others. */
void registry_url_of_host(const char *host, char ret_url[ADDRESS_TEXT_MAX]);
/* Parses the name. An image without a host is in the cluster's registry. */
int registry_init(struct registry *registry, struct cli *cli, const char *name,
                  struct error *error);
/* What the image is called there: its digest if it has one, else its tag. */
const char *registry_reference(const struct registry *registry);
/* "host:port/repository", for signatures; the caller frees it. */
char *registry_docker_reference(const struct registry *registry);

int registry_get_manifest(struct registry *registry, const char *reference,
                          struct registry_manifest *ret_manifest, struct error *error);
int registry_push_manifest(struct registry *registry, const char *reference, const char *media_type,
                           const void *bytes, size_t length, struct error *error);
/* `path` NULL: from `bytes`. */
int registry_push_blob(struct registry *registry, const char *digest, uint64_t size,
                       const char *path, const void *bytes, struct error *error);
int registry_pull_blob(struct registry *registry, const char *digest, uint64_t size,
                       const char *path, struct error *error);
/* {"repositories": [...]} and {"name", "tags": [...]}; the caller's reference. */
int registry_list_repositories(struct registry *registry, struct json_object **ret_document,
                               struct error *error);
int registry_list_tags(struct registry *registry, const char *repository,
                       struct json_object **ret_document, struct error *error);
int registry_delete(struct registry *registry, struct error *error);
/* The digest that the image's name stands for, and its architectures: at least one. */
int registry_resolve(struct registry *registry, struct image_resolved *ret_resolved,
                     struct error *error);
/* For image_chain_verify. */
int registry_fetch_chain(struct registry *registry, const char *digest, const char *architecture,
                         struct image_chain *ret_chain, struct error *error);
/* Adds the signatures and attestations of one manifest or index to the chain. */
int registry_fetch_signatures(struct registry *registry, const char *digest,
                              struct image_chain *chain, struct error *error);
/* What refers to it, of any type; release it by oci_index_record. */
int registry_list_referrers(struct registry *registry, const char *digest,
                            struct oci_index *ret_index, struct error *error);
/* Pushes a manifest that names its subject, whose blobs are there, and sees to it that the registry
 * lists it. */
int registry_push_referrer_manifest(struct registry *registry, const char *media_type,
                                    const char *bytes, size_t length, struct error *error);
/* Pushes bytes of `media_type` as a referrer of `subject` (type, digest and size are used), and
 * sees to it that the registry lists it. `predicate_type` as for bundle_referrer. */
int registry_push_referrer(struct registry *registry, const struct oci_descriptor *subject,
                           const char *media_type, const char *bytes, size_t length,
                           const char *predicate_type, char ret_digest[DIGEST_TEXT_MAX],
                           struct error *error);
