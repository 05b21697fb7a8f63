/* The tables of the registry's database and the statements on them. Format 2; format 1 is migrated.
 * For the other files of this folder. */
#pragma once

#include "lib/database.h"

extern const char *const schema_migrations[];

/* Reads the manifests that an older format kept without what this one knows of them. Runs after
 * the migrations and does nothing when there are none. */
int schema_read_manifests(struct database *database, struct error *error);

enum reference_kind {
    REFERENCE_BLOB,     /* config and layers */
    REFERENCE_MANIFEST, /* what an index lists */
};

enum statement {
    HAS_REPOSITORY,
    ADD_REPOSITORY,
    GET_USED,
    HAS_BLOB,
    ADD_BLOB,
    MOUNT_BLOB,
    REMOVE_BLOB,
    HAS_DIGEST,
    EACH_HOLDER,
    NEXT_UNSIZED,
    SIZE_BLOBS,
    HAS_MANIFEST,
    PUT_MANIFEST,
    ADD_REFERENCE,
    GET_TAG,
    PUT_TAG,
    GET_BY_DIGEST,
    GET_BY_TAG,
    FIND_INDEX,
    REMOVE_MANIFEST,
    REMOVE_TAG,
    LIST_TAGS,
    EACH_TAG,
    EACH_TAG_OF,
    LIST_REPOSITORIES,
    LIST_REFERRERS,
    LIST_REFERRERS_OF_TYPE,
    ADD_UPLOAD,
    HAS_UPLOAD,
    REMOVE_UPLOAD,
    LIST_UPLOADS,
    FIND_DEAD,
    LIST_KEEPERS,
    KEEP_MANIFEST,
    REMOVE_DEAD,
    NOTE_DEAD,
    SCAN_BLOBS,
    SWEEP_BLOB,
    NOTE_GONE,
    IS_LEFT,
    LIST_EMPTY,
    REMOVE_EMPTY,
    FIND_TAGGED,
    HAS_TAGS,
    HAS_HOLDER,
    LIST_HELD,
    REMOVE_COMPANIONS,
    GET_SIZE,
    LIST_DIGESTS,
    NEXT_MANIFEST,
    TOTALS,
    LIST_USERS,
    STATEMENT_COUNT,
};

extern const char *const schema_statements[STATEMENT_COUNT];
