/* What the registry knows about its blobs: repositories, which blobs each one holds, manifests
 * with their exact bytes, tags, and whose an upload is. In SQLite; a call that changed something
 * is durable when it returns. Any thread: calls are serialized inside. Blocking. Knows no files.
 *
 * Functions that look for something return 1 when it is there, 0 when it is not, -1 on errors. */
#pragma once

#include "lib/crypto.h"
#include "lib/error.h"
#include "lib/json.h"

struct metadata;

int metadata_open(const char *path, struct metadata **ret_metadata, struct error *error);
void metadata_close(struct metadata *metadata);

/* Blobs of a repository. */
int metadata_has_blob(struct metadata *metadata, const char *repository, const char *digest,
                      struct error *error);
int metadata_add_blob(struct metadata *metadata, const char *repository, const char *digest,
                      struct error *error);
/* 0: `from` does not hold it. */
int metadata_mount_blob(struct metadata *metadata, const char *from, const char *repository,
                        const char *digest, struct error *error);
/* `ret_last`: no other repository holds it any more. */
int metadata_remove_blob(struct metadata *metadata, const char *repository, const char *digest,
                         bool *ret_last, struct error *error);

struct metadata_manifest {
    char digest[DIGEST_TEXT_MAX];
    char *media_type;
    char *bytes;
    size_t length;
    char *subject; /* NULL: none */
    uint64_t id;   /* of its row, growing; 0 before it is stored */
};

void metadata_manifest_finish(struct metadata_manifest *manifest);

/* What a manifest needs to be there before it is. */
struct metadata_references {
    struct json_strings blobs;
    struct json_strings manifests;
};

void metadata_references_finish(struct metadata_references *references);

/* Stores it and points the tag (may be NULL) at it. 0: `ret_missing` is not in the repository,
 * nothing was stored. */
int metadata_put_manifest(struct metadata *metadata, const char *repository,
                          const struct metadata_manifest *manifest, const char *tag,
                          const struct metadata_references *references,
                          char ret_missing[DIGEST_TEXT_MAX], struct error *error);
/* By tag or digest. */
int metadata_get_manifest(struct metadata *metadata, const char *repository, const char *reference,
                          struct metadata_manifest *ret_manifest, struct error *error);
/* A digest goes with the tags that point at it; a tag goes alone. */
int metadata_remove_manifest(struct metadata *metadata, const char *repository,
                             const char *reference, struct error *error);

int metadata_has_repository(struct metadata *metadata, const char *repository, struct error *error);
/* Up to `limit` names behind `last` (may be ""), in byte order. */
int metadata_list_tags(struct metadata *metadata, const char *repository, const char *last,
                       uint64_t limit, struct json_strings *ret_names, struct error *error);
int metadata_list_repositories(struct metadata *metadata, const char *last, uint64_t limit,
                               struct json_strings *ret_names, struct error *error);
/* Calls `each` for the manifests with that subject whose id is over `last`, by id, until it returns
 * false; with the lock held: it must not call back. */
int metadata_list_referrers(struct metadata *metadata, const char *repository, const char *subject,
                            uint64_t last,
                            bool (*each)(const struct metadata_manifest *manifest, void *data),
                            void *data, struct error *error);

int metadata_add_upload(struct metadata *metadata, const char *id, const char *repository,
                        struct error *error);
int metadata_has_upload(struct metadata *metadata, const char *id, const char *repository,
                        struct error *error);
int metadata_remove_upload(struct metadata *metadata, const char *id, struct error *error);
