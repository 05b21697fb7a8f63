/* The registry's handlers; the table that names their paths is in registry.c. `data` is the
 * struct registry. */
#pragma once

#include "registry/registry.h"

/* routes_common.c */
void route_version_check(struct http_request *request, void *data); /* GET /v2/ */
void route_health(struct http_request *request, void *data);
void route_metrics(struct http_request *request, void *data);
void route_version(struct http_request *request, void *data);

/* The valid name of the request's "{name...}", or NULL after answering NAME_INVALID. */
const char *route_repository(struct http_request *request);
/* The valid digest of the request's "{digest}", or NULL after answering DIGEST_INVALID. */
const char *route_digest(struct http_request *request);
/* Answers DIGEST_INVALID; `digest` may be NULL. */
void route_refuse_digest(struct http_request *request, const char *digest);
/* What the policies say of the repository, for metadata to go by. They stay as they are until
 * route_rules_give on the same thread, which must come soon. */
void route_rules_take(struct registry *registry, const char *repository,
                      struct metadata_rules *ret_rules);
void route_rules_give(struct registry *registry);
/* Before bytes are taken: how many the repository has room for (UINT64_MAX: any), or -1 after
 * answering that there is none for what the request brings. Others push meanwhile, so that metadata
 * looks again at the end. */
int route_check_quota(struct http_request *request, struct registry *registry,
                      const char *repository, uint64_t *ret_room);
void route_respond_over_quota(struct http_request *request, struct registry *registry,
                              const char *repository);
void route_add_header(struct http_request *request, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* routes_blobs.c */
void route_blob_get(struct http_request *request, void *data);
void route_blob_delete(struct http_request *request, void *data);

/* routes_uploads.c */
int route_upload_bytes(struct http_request *request, const void *bytes, size_t length, void *data);
void route_upload_post(struct http_request *request, void *data);
void route_upload_patch(struct http_request *request, void *data);
void route_upload_put(struct http_request *request, void *data);
void route_upload_get(struct http_request *request, void *data);
void route_upload_delete(struct http_request *request, void *data);

/* routes_manifests.c */
void route_manifest_get(struct http_request *request, void *data);
void route_manifest_put(struct http_request *request, void *data);
void route_manifest_delete(struct http_request *request, void *data);

/* access/routes_token.c */
void route_token_get(struct http_request *request, void *data);
void route_token_post(struct http_request *request, void *data);

/* routes_lists.c */
void route_tags_list(struct http_request *request, void *data);
void route_catalog(struct http_request *request, void *data);
void route_referrers(struct http_request *request, void *data);
