/* The parts of a struct metadata, for the files of this folder. */
#pragma once

#include "registry/metadata/cache.h"
#include "registry/metadata/connection.h"
#include "registry/metadata/metadata.h"

struct metadata {
    struct writer *writer;
    struct readers *readers;
    struct cache *manifests; /* by tag and by digest */
    struct cache *blobs;     /* that are there */
};

/* One look by a reader: 1 when there is a row. */
int metadata_look(struct metadata *metadata, enum statement which, const char *first,
                  const char *second, struct error *error);
/* Now, in the database's form. */
int64_t metadata_now(void);
/* Whether what the operation has added is too much for the rules; `before`: what was used. */
int metadata_check_quota(struct connection *connection, const char *repository, uint64_t before,
                         const struct metadata_rules *rules, struct error *error);
int metadata_read_used(struct connection *connection, const char *repository, uint64_t *ret_used,
                       struct error *error);
