/* Uploads: POST starts one (or takes a whole blob, or mounts another repository's), PATCH appends,
 * PUT ends it with the digest. What has arrived stays over broken connections and restarts. */
#include <string.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "registry/byte_range.h"
#include "registry/oci_error.h"
#include "registry/routes.h"

/* A request that carries bytes of an upload. */
struct transfer {
    struct registry *registry;
    struct blob_upload *upload;
    enum digest_algorithm algorithm;
    bool temporary; /* a whole blob in one POST: nothing to come back to */
    bool is_bounded;
    uint64_t room;  /* what the upload may have before its repository is over the quota */
    uint64_t start; /* size of the upload before this request */
    uint64_t end;   /* what it is to be after it, when bounded */
};

/* Before the answer, so that the client's next request finds the upload unlocked. */
static void transfer_release(struct transfer *transfer)
{
    if (transfer->temporary && transfer->upload != NULL)
        blob_upload_remove(transfer->upload, NULL);
    blob_upload_close(transfer->upload);
    transfer->upload = NULL;
}

static void transfer_destroy(void *data)
{
    struct transfer *transfer = data;
    transfer_release(transfer);
    free(transfer);
}

static void add_upload_headers(struct http_request *request, const char *repository, const char *id,
                               uint64_t size)
{
    route_add_header(request, "Location", "/v2/%s/blobs/uploads/%s", repository, id);
    route_add_header(request, "Range", "0-%llu", (unsigned long long)(size > 0 ? size - 1 : 0));
    http_request_add_header(request, "Docker-Upload-UUID", id);
}

static void respond_upload_error(struct http_request *request, const struct error *error)
{
    if (error->code == ERROR_NOT_FOUND)
        oci_error_respond(request, OCI_BLOB_UPLOAD_UNKNOWN, "%s",
                          "there is no such upload: start one by POST");
    else if (error->code == ERROR_CONFLICT)
        oci_error_respond_status(request, OCI_BLOB_UPLOAD_INVALID, 409, "%s", error->message);
    else
        oci_error_respond_failure(request, error);
}

/* The request's upload, opened; NULL after answering. */
static struct blob_upload *open_upload(struct http_request *request, struct registry *registry,
                                       const char *repository)
{
    struct error error = ERROR_INIT;
    struct blob_upload *upload = NULL;
    const char *id = http_request_parameter(request, "id");
    int found = metadata_has_upload(registry->metadata, id, repository, &error);
    if (found == 0)
        error_set(&error, ERROR_NOT_FOUND, "no such upload");
    if (found == 1 && blob_upload_open(registry->blobs, id, &upload, &error) == 0)
        return upload;
    respond_upload_error(request, &error);
    return NULL;
}

/* --- bytes --- */

/* What the request has brought goes again. */
static void take_back(struct transfer *transfer)
{
    blob_upload_truncate(transfer->upload, transfer->start, NULL);
    transfer_release(transfer);
}

/* A chunk that says where it belongs must belong at the end of what is there. */
static int check_chunk(struct http_request *request, struct transfer *transfer,
                       const char *repository)
{
    const char *range = http_request_header(request, "Content-Range");
    uint64_t size = blob_upload_size(transfer->upload), start;
    transfer->start = size;
    if (range == NULL)
        return 0;
    if (!byte_range_parse_chunk(range, &start, &transfer->end)) {
        add_upload_headers(request, repository, blob_upload_id(transfer->upload), size);
        transfer_release(transfer);
        oci_error_respond_status(request, OCI_BLOB_UPLOAD_INVALID, 416,
                                 "\"%.60s\" is no Content-Range of the form <first>-<last>", range);
        return -1;
    }
    if (start != size) {
        add_upload_headers(request, repository, blob_upload_id(transfer->upload), size);
        transfer_release(transfer);
        oci_error_respond_status(request, OCI_BLOB_UPLOAD_INVALID, 416,
                                 "the upload has %llu bytes and goes on there, not at %llu",
                                 (unsigned long long)size, (unsigned long long)start);
        return -1;
    }
    transfer->is_bounded = true;
    return 0;
}

/* The algorithm of the digest that the upload will have: 0, or -1 after answering. */
static int read_algorithm(struct http_request *request, bool needs_digest,
                          enum digest_algorithm *ret_algorithm)
{
    const char *digest = http_request_query(request, "digest");
    const char *name = http_request_query(request, "digest-algorithm");
    *ret_algorithm = DIGEST_SHA256;
    if (needs_digest && (digest == NULL || !digest_parse(digest, ret_algorithm))) {
        route_refuse_digest(request, digest);
        return -1;
    }
    if (needs_digest || name == NULL || digest_algorithm_parse(name, ret_algorithm))
        return 0;
    oci_error_respond(request, OCI_DIGEST_INVALID,
                      "digest-algorithm=%.40s is not known here: sha256 and sha512 are", name);
    return -1;
}

/* Before the first byte: -1 after answering what is wrong. */
static int begin_transfer(struct http_request *request, struct registry *registry)
{
    const char *method = http_request_method(request);
    const char *repository = route_repository(request);
    bool is_post = strcmp(method, "POST") == 0;
    struct error error = ERROR_INIT;
    uint64_t room;
    if (repository == NULL || route_check_quota(request, registry, repository, &room) < 0)
        return -1;
    bool needs_digest =
        is_post ? http_request_query(request, "digest") != NULL : strcmp(method, "PUT") == 0;
    enum digest_algorithm algorithm;
    if (read_algorithm(request, needs_digest, &algorithm) < 0)
        return -1;
    struct transfer *transfer = xcalloc(1, sizeof *transfer);
    transfer->registry = registry;
    transfer->room = room;
    http_request_set_state(request, transfer, transfer_destroy);
    if (!is_post) {
        transfer->upload = open_upload(request, registry, repository);
        return transfer->upload == NULL ? -1 : check_chunk(request, transfer, repository);
    }
    transfer->temporary = needs_digest;
    transfer->algorithm = algorithm;
    if (needs_digest &&
        blob_upload_create_temporary(registry->blobs, algorithm, &transfer->upload, &error) < 0) {
        oci_error_respond_failure(request, &error);
        return -1;
    }
    return 0;
}

int route_upload_bytes(struct http_request *request, const void *bytes, size_t length, void *data)
{
    struct registry *registry = data;
    struct transfer *transfer = http_request_state(request);
    struct error error = ERROR_INIT;
    if (transfer == NULL)
        return begin_transfer(request, registry);
    if (transfer->upload == NULL) {
        oci_error_respond(request, OCI_BLOB_UPLOAD_INVALID,
                          "a POST with a body needs ?digest=; without it PATCH takes the bytes");
        return -1;
    }
    uint64_t size = blob_upload_size(transfer->upload);
    if (transfer->is_bounded && length > transfer->end - size) {
        take_back(transfer);
        oci_error_respond(request, OCI_SIZE_INVALID, "the chunk is longer than its Content-Range");
        return -1;
    }
    /* A body that does not say how long it is must not fill the disk either. */
    if (size > transfer->room || length > transfer->room - size) {
        take_back(transfer);
        route_respond_over_quota(request, registry, http_request_parameter(request, "name"));
        return -1;
    }
    if (blob_upload_write(transfer->upload, bytes, length, &error) < 0) {
        transfer_release(transfer);
        oci_error_respond_failure(request, &error);
        return -1;
    }
    registry_count(registry, COUNTER_BLOB_BYTES_PUSHED, length);
    leases_take(registry->leases, http_request_parameter(request, "name"), LEASE_PUSH);
    return 0;
}

/* A chunk that ended early leaves nothing; -1 after answering. */
static int check_chunk_end(struct http_request *request, struct transfer *transfer)
{
    if (!transfer->is_bounded || blob_upload_size(transfer->upload) == transfer->end)
        return 0;
    take_back(transfer);
    oci_error_respond(request, OCI_SIZE_INVALID, "the chunk is shorter than its Content-Range");
    return -1;
}

/* --- the end: the blob --- */

/* 1; 0: over the quota. */
static int add_blob(const struct transfer *transfer, const char *repository, const char *digest,
                    struct error *error)
{
    struct registry *registry = transfer->registry;
    uint64_t size = blob_upload_size(transfer->upload);
    struct metadata_rules rules;
    route_rules_take(registry, repository, &rules);
    int added = transfer->temporary
                    ? metadata_add_blob(registry->metadata, repository, digest, size, &rules, error)
                    : metadata_end_upload(registry->metadata, blob_upload_id(transfer->upload),
                                          repository, digest, size, &rules, error);
    route_rules_give(registry);
    return added;
}

/* 1; 0: over the quota. What was published for nobody goes: on a full disk it makes room. */
static int list_blob(const struct transfer *transfer, const char *repository, const char *digest,
                     struct error *error)
{
    struct registry *registry = transfer->registry;
    int added = add_blob(transfer, repository, digest, error);
    if (added != 1 && metadata_holds_digest(registry->metadata, digest, NULL) == 0)
        blob_store_remove_blob(registry->blobs, digest, NULL);
    return added;
}

/* 1; 0: over the quota. */
static int publish(const struct transfer *transfer, const char *repository, const char *digest,
                   struct error *error)
{
    struct registry *registry = transfer->registry;
    leases_take(registry->leases, repository, digest);
    blob_store_lock_digest(registry->blobs, digest);
    int result = blob_upload_publish(transfer->upload, digest, error);
    if (result == 0)
        result = list_blob(transfer, repository, digest, error);
    blob_store_unlock_digest(registry->blobs, digest);
    return result;
}

static void respond_created(struct http_request *request, const char *repository,
                            const char *digest)
{
    route_add_header(request, "Location", "/v2/%s/blobs/%s", repository, digest);
    http_request_add_header(request, "Docker-Content-Digest", digest);
    http_request_respond(request, 201, NULL, NULL, 0);
}

static void forget(struct registry *registry, const char *id)
{
    struct error error = ERROR_INIT;
    if (metadata_remove_upload(registry->metadata, id, &error) < 0)
        log_warn("an ended upload stays listed", "upload", id, "error", error.message);
}

/* Makes the blob of the upload. 1; 0: over the quota. Bytes that are not the digest's go, and the
 * upload with them, since nothing that is appended to them can mend them. */
static int finish_upload(struct transfer *transfer, const char *repository, const char *digest,
                         struct error *error)
{
    struct registry *registry = transfer->registry;
    const char *id = blob_upload_id(transfer->upload);
    int result = -1;
    if (blob_upload_seal(transfer->upload, digest, error) == 0)
        result = publish(transfer, repository, digest, error);
    bool is_refused = result == 0 || (result < 0 && error->code == ERROR_SIGNATURE);
    if (is_refused)
        blob_upload_remove(transfer->upload, NULL);
    if (!transfer->temporary && is_refused)
        forget(registry, id);
    return result;
}

static void complete(struct http_request *request, struct transfer *transfer,
                     const char *repository)
{
    struct registry *registry = transfer->registry;
    struct error error = ERROR_INIT;
    const char *digest = http_request_query(request, "digest");
    uint64_t size = blob_upload_size(transfer->upload);
    int result = finish_upload(transfer, repository, digest, &error);
    transfer_release(transfer);
    if (result == 1) {
        registry_count(registry, COUNTER_BLOBS_PUSHED, 1);
        log_info("blob stored", "repository", repository, "digest", digest, "bytes",
                 LOG_NUMBER(size));
        respond_created(request, repository, digest);
    } else if (result == 0) {
        registry_count(registry, COUNTER_REFUSED_UPLOADS, 1);
        route_respond_over_quota(request, registry, repository);
    } else if (error.code == ERROR_SIGNATURE) {
        registry_count(registry, COUNTER_REFUSED_UPLOADS, 1);
        oci_error_respond_detail(request, OCI_DIGEST_INVALID, 400, "digest", digest, "%s",
                                 error.message);
    } else {
        oci_error_respond_failure(request, &error);
    }
}

/* --- the routes --- */

static void start_upload(struct http_request *request, struct registry *registry,
                         const char *repository, enum digest_algorithm algorithm)
{
    struct error error = ERROR_INIT;
    struct blob_upload *upload = NULL;
    if (blob_upload_create(registry->blobs, algorithm, &upload, &error) < 0) {
        oci_error_respond_failure(request, &error);
        return;
    }
    int result =
        metadata_add_upload(registry->metadata, blob_upload_id(upload), repository, &error);
    if (result < 0)
        blob_upload_remove(upload, NULL);
    else
        add_upload_headers(request, repository, blob_upload_id(upload), 0);
    blob_upload_close(upload);
    if (result < 0)
        oci_error_respond_failure(request, &error);
    else
        http_request_respond(request, 202, NULL, NULL, 0);
}

/* A repository that a blob is to be mounted from. */
struct mount_source {
    struct http_request *request;
    struct registry *registry;
    char name[REPOSITORY_MAX]; /* "": none found */
};

/* Who may not see the other repository gets what he gets when nothing is there. */
static bool take_source(const char *repository, void *data)
{
    struct mount_source *source = data;
    if (!access_allows(source->request, source->registry->access, repository, ACCESS_PULL))
        return true;
    text_copy(source->name, sizeof source->name, repository);
    return false;
}

/* The repository that the client names, or, when it names none, any that holds the blob
 * (distribution spec, "Mounting a blob from another repository"). */
static int find_source(struct mount_source *source, const char *digest, struct error *error)
{
    const char *from = http_request_query(source->request, "from");
    if (from == NULL)
        return metadata_each_holder(source->registry->metadata, digest, take_source, source, error);
    if (repository_is_valid(from))
        take_source(from, source);
    return 0;
}

/* 1; 0: it cannot be mounted. A blob that is listed and lost is none to mount. */
static int mount_blob(struct http_request *request, struct registry *registry,
                      const char *repository, const char *digest, struct error *error)
{
    struct mount_source source = {.request = request, .registry = registry};
    struct metadata_rules rules;
    uint64_t size;
    leases_take(registry->leases, repository, digest);
    if (find_source(&source, digest, error) < 0)
        return -1;
    if (source.name[0] == '\0')
        return 0;
    if (blob_store_stat(registry->blobs, digest, &size, error) < 0)
        return error->code == ERROR_NOT_FOUND ? 0 : -1;
    route_rules_take(registry, repository, &rules);
    int mounted =
        metadata_mount_blob(registry->metadata, source.name, repository, digest, &rules, error);
    route_rules_give(registry);
    return mounted;
}

void route_upload_post(struct http_request *request, void *data)
{
    struct registry *registry = data;
    struct transfer *transfer = http_request_state(request);
    const char *repository = http_request_parameter(request, "name");
    const char *mount = http_request_query(request, "mount");
    struct error error = ERROR_INIT;
    if (transfer->temporary) {
        complete(request, transfer, repository);
        return;
    }
    if (mount != NULL && !digest_is_any(mount)) {
        route_refuse_digest(request, mount);
        return;
    }
    /* What cannot be mounted is uploaded: the spec's fallback. */
    int mounted = mount != NULL ? mount_blob(request, registry, repository, mount, &error) : 0;
    if (mounted < 0)
        oci_error_respond_failure(request, &error);
    else if (mounted == 1)
        respond_created(request, repository, mount);
    else
        start_upload(request, registry, repository, transfer->algorithm);
}

void route_upload_patch(struct http_request *request, void *data)
{
    (void)data;
    struct transfer *transfer = http_request_state(request);
    if (check_chunk_end(request, transfer) < 0)
        return;
    add_upload_headers(request, http_request_parameter(request, "name"),
                       blob_upload_id(transfer->upload), blob_upload_size(transfer->upload));
    transfer_release(transfer);
    http_request_respond(request, 202, NULL, NULL, 0);
}

void route_upload_put(struct http_request *request, void *data)
{
    (void)data;
    struct transfer *transfer = http_request_state(request);
    if (check_chunk_end(request, transfer) == 0)
        complete(request, transfer, http_request_parameter(request, "name"));
}

void route_upload_get(struct http_request *request, void *data)
{
    struct registry *registry = data;
    struct error error = ERROR_INIT;
    const char *repository = route_repository(request);
    const char *id = http_request_parameter(request, "id");
    uint64_t size = 0;
    if (repository == NULL)
        return;
    int found = metadata_has_upload(registry->metadata, id, repository, &error);
    if (found == 0)
        error_set(&error, ERROR_NOT_FOUND, "no such upload");
    /* Without its lock: how far an upload is can be asked while it is under way. */
    if (found != 1 || blob_store_upload_size(registry->blobs, id, &size, &error) < 0) {
        respond_upload_error(request, &error);
        return;
    }
    add_upload_headers(request, repository, id, size);
    http_request_respond(request, 204, NULL, NULL, 0);
}

void route_upload_delete(struct http_request *request, void *data)
{
    struct registry *registry = data;
    struct error error = ERROR_INIT;
    const char *repository = route_repository(request);
    struct blob_upload *upload =
        repository != NULL ? open_upload(request, registry, repository) : NULL;
    if (upload == NULL)
        return;
    int result = blob_upload_remove(upload, &error);
    blob_upload_close(upload); /* first: on a full disk it makes the room to write the rest */
    if (result < 0) {
        oci_error_respond_failure(request, &error);
        return;
    }
    forget(registry, http_request_parameter(request, "id"));
    http_request_respond(request, 204, NULL, NULL, 0);
}
