/* What the registry knows about its blobs: repositories, which blobs each one holds, manifests
 * with their exact bytes, tags, and whose an upload is. In SQLite; a call that changed something
 * is durable when it returns, and what is asked after that sees it. Any thread: readers wait for
 * nobody, writers share their commits. Blocking. Knows no files.
 *
 * Functions that look for something return 1 when it is there, 0 when it is not, -1 on errors.
 * ERROR_STORAGE_FULL: the disk is full. Times are milliseconds since 1970, sizes bytes. */
#pragma once

#include "lib/crypto.h"
#include "lib/error.h"
#include "lib/image_reference.h"
#include "lib/json.h"

struct metadata;

int metadata_open(const char *path, struct metadata **ret_metadata, struct error *error);
/* A copy that metadata_back_up made, to read in it: nothing may be changed. */
int metadata_open_copy(const char *path, struct metadata **ret_metadata, struct error *error);
void metadata_close(struct metadata *metadata);
/* Fills in the sizes of blobs that came from an older format, once: `size_of` says a blob's. */
int metadata_learn_sizes(struct metadata *metadata,
                         int (*size_of)(const char *digest, void *data, uint64_t *ret_size,
                                        struct error *error),
                         void *data, struct error *error);
/* A copy of all that is committed, complete at `path` or not there. Others go on. */
int metadata_back_up(struct metadata *metadata, const char *path, struct error *error);

/* What a repository's rules allow, asked inside the transaction that would break them. NULL
 * stands for no rules. */
struct metadata_rules {
    uint64_t quota; /* UINT64_MAX: none */
    /* Whether a tag that exists must stay where it points; may be NULL. Must not call back. */
    bool (*is_immutable)(const char *repository, const char *tag, void *data);
    void *data;
};

/* Why something was not done though nothing failed. */
enum metadata_refusal_reason {
    METADATA_NOT_REFUSED,
    METADATA_MISSING,    /* the repository lacks the digest `name` */
    METADATA_IMMUTABLE,  /* the tag `name` must not change */
    METADATA_OVER_QUOTA, /* it would take the repository over its quota */
    METADATA_LISTED,     /* the index with the digest `name` lists it */
};

struct metadata_refusal {
    enum metadata_refusal_reason reason;
    char name[DIGEST_ANY_MAX];
};

/* --- blobs of a repository --- */

int metadata_has_blob(struct metadata *metadata, const char *repository, const char *digest,
                      struct error *error);
/* 1; 0: over the quota. Again is fine, and makes it young. */
int metadata_add_blob(struct metadata *metadata, const char *repository, const char *digest,
                      uint64_t size, const struct metadata_rules *rules, struct error *error);
/* The same for an upload that has become the blob. It is forgotten in the same commit: one less to
 * wait for. */
int metadata_end_upload(struct metadata *metadata, const char *id, const char *repository,
                        const char *digest, uint64_t size, const struct metadata_rules *rules,
                        struct error *error);
/* 0: `from` does not hold it, or it is over the quota. */
int metadata_mount_blob(struct metadata *metadata, const char *from, const char *repository,
                        const char *digest, const struct metadata_rules *rules,
                        struct error *error);
/* `ret_last`: no other repository holds it any more. */
int metadata_remove_blob(struct metadata *metadata, const char *repository, const char *digest,
                         bool *ret_last, struct error *error);
/* Whether any repository holds it. */
int metadata_holds_digest(struct metadata *metadata, const char *digest, struct error *error);
/* Calls `each` for the repositories that hold it, in any order, until it returns false. It must not
 * change any of them. */
int metadata_each_holder(struct metadata *metadata, const char *digest,
                         bool (*each)(const char *repository, void *data), void *data,
                         struct error *error);

/* --- manifests --- */

struct metadata_manifest {
    char digest[DIGEST_ANY_MAX];
    char *media_type;
    char *bytes;
    size_t length;
    char *subject;       /* NULL: none */
    char *artifact_type; /* its own, or its config's type; NULL: none, or not asked for */
    char *annotations;   /* a JSON object; NULL: none, or not asked for */
    uint64_t id;         /* of its row, growing; 0 before it is stored */
};

void metadata_manifest_finish(struct metadata_manifest *manifest);

/* What a manifest refers to. The first two must be there before it; what an index lists may be a
 * blob, as in the caches that builders push. */
struct metadata_references {
    struct json_strings blobs;
    struct json_strings manifests;
    struct json_strings elsewhere; /* blobs with URLs of their own: kept where they are here */
};

void metadata_references_finish(struct metadata_references *references);

/* Stores it and points the tags (may be none) at it. 0: refused, nothing was stored. */
int metadata_put_manifest(struct metadata *metadata, const char *repository,
                          const struct metadata_manifest *manifest, const struct json_strings *tags,
                          const struct metadata_references *references,
                          const struct metadata_rules *rules, struct metadata_refusal *ret_refusal,
                          struct error *error);
/* By tag or digest. The manifest is shared and constant; the caller releases it. */
int metadata_get_manifest(struct metadata *metadata, const char *repository, const char *reference,
                          const struct metadata_manifest **ret_manifest, struct error *error);
void metadata_manifest_release(const struct metadata_manifest *manifest);
/* A digest goes with the tags that point at it; a tag goes alone. 0: there is none, or, with a
 * reason in `ret_refusal`, it has to stay. */
int metadata_remove_manifest(struct metadata *metadata, const char *repository,
                             const char *reference, const struct metadata_rules *rules,
                             struct metadata_refusal *ret_refusal, struct error *error);

/* --- lists --- */

int metadata_has_repository(struct metadata *metadata, const char *repository, struct error *error);
/* Bytes of the repository's blobs and manifests; 0 for one that is not there. */
int metadata_get_used(struct metadata *metadata, const char *repository, uint64_t *ret_bytes,
                      struct error *error);
/* Up to `limit` names behind `last` (may be ""), in byte order. */
int metadata_list_tags(struct metadata *metadata, const char *repository, const char *last,
                       uint64_t limit, struct json_strings *ret_names, struct error *error);
int metadata_list_repositories(struct metadata *metadata, const char *last, uint64_t limit,
                               struct json_strings *ret_names, struct error *error);

struct metadata_tag {
    const char *name;
    const char *digest;
    uint64_t set_at;
};

/* Calls `each` for every tag, by name, until it returns false. It must not change the repository.
 */
int metadata_each_tag(struct metadata *metadata, const char *repository,
                      bool (*each)(const struct metadata_tag *tag, void *data), void *data,
                      struct error *error);

struct metadata_referrer {
    const char *digest;
    const char *media_type;
    uint64_t size;
    const char *artifact_type; /* NULL: none */
    const char *annotations;   /* a JSON object; NULL: none */
    uint64_t id;
};

/* Calls `each` for the manifests with that subject (and that artifact type, unless NULL) whose id
 * is over `last`, by id, until it returns false. It must not change the repository. */
int metadata_list_referrers(struct metadata *metadata, const char *repository, const char *subject,
                            const char *artifact_type, uint64_t last,
                            bool (*each)(const struct metadata_referrer *referrer, void *data),
                            void *data, struct error *error);

/* --- uploads --- */

int metadata_add_upload(struct metadata *metadata, const char *id, const char *repository,
                        struct error *error);
int metadata_has_upload(struct metadata *metadata, const char *id, const char *repository,
                        struct error *error);
int metadata_remove_upload(struct metadata *metadata, const char *id, struct error *error);
/* Up to `limit` ids behind `last` (may be "") of uploads that began before `created`. */
int metadata_list_uploads(struct metadata *metadata, uint64_t created, const char *last,
                          uint64_t limit, struct json_strings *ret_ids, struct error *error);

/* --- for metrics, checks and backups of all there is --- */

struct metadata_totals {
    uint64_t repositories;
    uint64_t used; /* of all repositories; a blob counts in each that holds it */
    uint64_t uploads;
};
int metadata_read_totals(struct metadata *metadata, struct metadata_totals *ret_totals,
                         struct error *error);

/* Calls `each` for the digest of every blob, once each, in byte order, until it returns -1, as this
 * then does. Nothing is held meanwhile: `each` may take its time, and change what is stored. */
int metadata_each_digest(struct metadata *metadata, int (*each)(const char *digest, void *data),
                         void *data, struct error *error);
/* Up to `limit` images that need the blob: "repository:tag", or "repository@digest" of a manifest
 * without a tag. */
int metadata_list_users(struct metadata *metadata, const char *digest, uint64_t limit,
                        struct json_strings *ret_images, struct error *error);
/* Whether the first manifest whose row is behind `last` still has the bytes of its digest. 0: there
 * is none behind it. */
struct metadata_check {
    uint64_t id; /* of its row, for the next call */
    char repository[REPOSITORY_MAX];
    char digest[DIGEST_ANY_MAX];
    uint64_t size;
    bool is_whole;
};
int metadata_check_manifest(struct metadata *metadata, uint64_t last,
                            struct metadata_check *ret_check, struct error *error);
