#include "agent/image_downloads.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/image_downloads_internal.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/image_client.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define RETRY_FIRST_MS 500
#define RETRY_MOST_MS  30000

/* --- jobs --- */

static void on_retry_closed(uv_handle_t *handle)
{
    struct image_job *job = handle->data;
    free(job->repository);
    free(job);
}

static void job_destroy(struct image_job *job)
{
    TAILQ_REMOVE(&job->store->jobs, job, link);
    image_job_unpack_finish(job);
    if (job->place == JOB_AT_HOST)
        host_client_forget(job->store->options.host, job->request);
    uv_close((uv_handle_t *)&job->retry, on_retry_closed);
}

static struct image_job *job_find(struct image_downloads *store, const struct image_job *wanted)
{
    struct image_job *job;
    TAILQ_FOREACH(job, &store->jobs, link)
    {
        /* A part is the same wherever it comes from, but for one that is not asked of the registry;
         * signatures need not be. */
        if (job->kind == wanted->kind && strcmp(job->digest, wanted->digest) == 0 &&
            (wanted->kind == JOB_PART || strcmp(job->repository, wanted->repository) == 0) &&
            job->is_local == wanted->is_local &&
            strcmp(job->architecture, wanted->architecture) == 0)
            return job;
    }
    return NULL;
}

static void job_join(struct image_downloads *store, const struct image_job *wanted,
                     struct image_waiter *waiter)
{
    struct image_job *job = job_find(store, wanted);
    bool is_new = job == NULL;
    if (is_new) {
        job = xcalloc(1, sizeof *job);
        job->store = store;
        job->kind = wanted->kind;
        job->size = wanted->size;
        job->is_local = wanted->is_local;
        job->image = wanted->image;
        job->metadata = wanted->metadata;
        job->metadata_length = wanted->metadata_length;
        job->repository = xstrdup(wanted->repository);
        memcpy(job->digest, wanted->digest, sizeof job->digest);
        memcpy(job->architecture, wanted->architecture, sizeof job->architecture);
        TAILQ_INIT(&job->waiters);
        uv_timer_init(store->options.loop, &job->retry);
        job->retry.data = job;
        TAILQ_INSERT_TAIL(&store->jobs, job, link);
    }
    waiter->job = job;
    TAILQ_INSERT_TAIL(&job->waiters, waiter, link);
    if (is_new)
        image_job_run(job);
    else
        waiter->on_state(job->state, job->cause != NULL ? job->cause : "", job->message,
                         waiter->data);
}

/* While it is being tried again the cause stays shown, until it worked. */
void image_job_tell(struct image_job *job, enum instance_state state, const char *cause,
                    const char *message)
{
    if (cause[0] == '\0' && job->cause != NULL) {
        cause = job->cause;
        message = job->message;
    }
    job->state = state;
    struct image_waiter *waiter, *next;
    for (waiter = TAILQ_FIRST(&job->waiters); waiter != NULL; waiter = next) {
        next = TAILQ_NEXT(waiter, link);
        waiter->on_state(state, cause, message, waiter->data);
    }
}

void image_job_end(struct image_job *job, const struct error *error)
{
    job_destroy(job);
    while (!TAILQ_EMPTY(&job->waiters)) {
        struct image_waiter *waiter = TAILQ_FIRST(&job->waiters);
        image_downloads_leave(waiter);
        waiter->on_done(error, waiter->data);
    }
}

static void on_retry(uv_timer_t *timer)
{
    struct image_job *job = timer->data;
    if (TAILQ_EMPTY(&job->waiters))
        job_destroy(job);
    else
        image_job_run(job);
}

/* This machine's disk, which people mend. */
static bool is_local(const struct error *error)
{
    return error->code == ERROR_IO || error->code == ERROR_STORAGE_FULL;
}

static bool is_temporary(const struct error *error)
{
    return error->code == ERROR_UNAVAILABLE || error->code == ERROR_TIMEOUT || is_local(error);
}

void image_job_fail(struct image_job *job, const struct error *error)
{
    if (!is_temporary(error)) {
        log_warn("an image cannot be had", "repository", job->repository, "digest", job->digest,
                 "reason", error->message);
        image_job_end(job, error);
        return;
    }
    bool is_full = error->code == ERROR_STORAGE_FULL;
    if (is_full && image_job_make_room(job, image_job_bytes(job)))
        job->retry_delay_ms = 0; /* soon: there is room now, or nearly */
    uint64_t delay = job->retry_delay_ms * 2;
    if (delay < RETRY_FIRST_MS)
        delay = RETRY_FIRST_MS;
    job->retry_delay_ms = delay > RETRY_MOST_MS ? RETRY_MOST_MS : delay;
    log_warn("an image cannot be had just now, trying again", "repository", job->repository,
             "digest", job->digest, "after_ms", LOG_NUMBER(job->retry_delay_ms), "reason",
             error->message);
    job->cause = is_full           ? INSTANCE_CAUSE_NO_SPACE
                 : is_local(error) ? INSTANCE_CAUSE_LOCAL_STORAGE
                                   : INSTANCE_CAUSE_REGISTRY_UNREACHABLE;
    snprintf(job->message, sizeof job->message, "%s", error->message);
    image_job_tell(job, INSTANCE_FETCHING, job->cause, job->message);
    uv_timer_start(&job->retry, on_retry, job->retry_delay_ms, 0);
}

/* --- chains --- */

char *image_downloads_chain_path(const struct image_downloads *store, const char *digest,
                                 const char *architecture)
{
    return xasprintf("%s/%s-%s", store->options.chains_directory, digest_hex(digest), architecture);
}

static void on_chain(const struct error *error, struct image_chain *chain, void *data)
{
    struct image_job *job = data;
    job->place = JOB_IDLE;
    if (error != NULL) {
        image_job_fail(job, error);
        return;
    }
    AUTO_FREE char *path = image_downloads_chain_path(job->store, job->digest, job->architecture);
    struct error reason = ERROR_INIT;
    if (image_chain_save(chain, path, &reason) < 0) {
        image_job_fail(job, &reason);
        return;
    }
    if (job->store->options.cache != NULL)
        image_cache_found_chain(job->store->options.cache, job->digest, job->architecture,
                                image_downloads_folder_bytes(path), 0);
    image_job_end(job, NULL);
}

/* --- parts --- */

static char *staging_path(const struct image_downloads *store, const char *digest,
                          const char *suffix)
{
    return xasprintf("%s/%s%s", store->options.staging_directory, digest_hex(digest), suffix);
}

static void part_import(struct image_job *job);

static void on_pulled(const struct oci_result *result, void *data)
{
    struct image_job *job = data;
    job->place = JOB_IDLE;
    if (result->error != NULL) {
        image_job_fail(job, result->error);
        return;
    }
    job->is_pulled = true;
    part_import(job);
}

bool image_job_has_registry(struct image_job *job)
{
    if (job->store->client != NULL)
        return true;
    struct error error = ERROR_INIT;
    error_set(&error, ERROR_UNAVAILABLE, "the scheduler has not named a registry yet");
    image_job_fail(job, &error);
    return false;
}

uint64_t image_job_bytes(const struct image_job *job)
{
    uint64_t bytes = job->size;
    for (size_t i = 0; job->image != NULL && i < job->image->part_count; i++)
        bytes += job->image->parts[i].size;
    return 2 * bytes;
}

static void part_pull(struct image_job *job)
{
    if (!image_job_has_registry(job))
        return;
    AUTO_FREE char *path = staging_path(job->store, job->digest, "");
    AUTO_FREE char *partial = staging_path(job->store, job->digest, ".partial");
    struct stat begun = {0};
    struct error error = ERROR_INIT;
    stat(partial, &begun);
    uint64_t there = (uint64_t)begun.st_size < job->size ? (uint64_t)begun.st_size : job->size;
    if (image_job_check_room(job, image_job_bytes(job) - there, &error) < 0) {
        image_job_fail(job, &error);
        return;
    }
    image_job_tell(job, INSTANCE_FETCHING, "", "");
    job->place = JOB_AT_REGISTRY;
    oci_client_pull_blob(job->store->client, job->repository, job->digest, job->size, path, NULL,
                         on_pulled, job);
}

static void on_imported(const struct host_answer *answer, int descriptor, void *data)
{
    (void)descriptor;
    struct image_job *job = data;
    job->place = JOB_IDLE;
    struct error error = ERROR_INIT;
    if (host_answer_check(answer, &error) == 0) {
        AUTO_FREE char *staged = staging_path(job->store, job->digest, "");
        unlink(staged);
        if (job->store->options.cache != NULL)
            image_cache_found_file(job->store->options.cache, job->digest, job->size, 0);
        image_job_end(job, NULL);
        return;
    }
    if ((error.code == ERROR_NOT_FOUND || error.code == ERROR_SIGNATURE) && job->is_local) {
        error.code = ERROR_NOT_FOUND;
        image_job_end(job, &error);
        return;
    }
    if ((error.code == ERROR_NOT_FOUND || error.code == ERROR_SIGNATURE) && !job->is_pulled) {
        /* What an earlier download left of it stays: the next goes on from there. */
        AUTO_FREE char *staged = staging_path(job->store, job->digest, "");
        unlink(staged);
        part_pull(job);
        return;
    }
    error_wrap(&error, "import %s", job->digest);
    if (error.code == ERROR_NOT_FOUND)
        error.code = ERROR_IO; /* the file was here a moment ago; it is not the image's fault */
    job->is_pulled = false;
    image_job_fail(job, &error);
}

static void part_import(struct image_job *job)
{
    struct host_message message = {.type = HOST_IMPORT};
    memcpy(message.import.digest, job->digest, sizeof message.import.digest);
    message.import.size = job->size;
    image_job_tell(job, INSTANCE_VERIFYING, "", "");
    job->place = JOB_AT_HOST;
    job->request = host_client_request(job->store->options.host, &message, on_imported, job);
}

void image_job_run(struct image_job *job)
{
    struct image_downloads *store = job->store;
    if (job->kind == JOB_PART) {
        part_import(job);
    } else if (job->kind == JOB_UNPACK) {
        image_job_unpack(job);
    } else if (image_job_has_registry(job)) {
        image_job_tell(job, INSTANCE_FETCHING, "", "");
        job->place = JOB_AT_REGISTRY;
        image_client_fetch_chain(store->client, job->repository, job->digest, job->architecture,
                                 on_chain, job);
    }
}

/* --- the store --- */

void image_downloads_fetch_chain(struct image_downloads *store, const char *repository,
                                 const char *digest, const char *architecture,
                                 struct image_waiter *waiter)
{
    AUTO_FREE char *name = xstrdup(repository);
    struct image_job wanted = {.kind = JOB_CHAIN, .repository = name};
    snprintf(wanted.digest, sizeof wanted.digest, "%s", digest);
    snprintf(wanted.architecture, sizeof wanted.architecture, "%s", architecture);
    job_join(store, &wanted, waiter);
}

void image_downloads_fetch_part(struct image_downloads *store, const char *repository,
                                const char *digest, uint64_t size, struct image_waiter *waiter)
{
    AUTO_FREE char *name = xstrdup(repository);
    struct image_job wanted = {.kind = JOB_PART, .repository = name, .size = size};
    snprintf(wanted.digest, sizeof wanted.digest, "%s", digest);
    job_join(store, &wanted, waiter);
}

void image_downloads_import_part(struct image_downloads *store, const char *digest, uint64_t size,
                                 struct image_waiter *waiter)
{
    AUTO_FREE char *nowhere = xstrdup("");
    struct image_job wanted = {
        .kind = JOB_PART, .repository = nowhere, .size = size, .is_local = true};
    snprintf(wanted.digest, sizeof wanted.digest, "%s", digest);
    job_join(store, &wanted, waiter);
}

void image_downloads_unpack(struct image_downloads *store, const char *repository,
                            const char *digest, const struct image_verified *image,
                            const struct image_chain *chain, struct image_waiter *waiter)
{
    AUTO_FREE char *name = xstrdup(repository);
    struct image_job wanted = {.kind = JOB_UNPACK, .repository = name};
    snprintf(wanted.digest, sizeof wanted.digest, "%s", digest);
    snprintf(wanted.architecture, sizeof wanted.architecture, "%s", image->config.architecture);
    if (job_find(store, &wanted) == NULL) {
        wanted.image = xmalloc(sizeof *wanted.image);
        *wanted.image = *image;
        struct image_config *config = &wanted.image->config;
        *config = (struct image_config){0};
        memcpy(config->family, image->config.family, sizeof config->family);
        memcpy(config->architecture, image->config.architecture, sizeof config->architecture);
        memcpy(config->boot.protocol, image->config.boot.protocol, sizeof config->boot.protocol);
        if (chain->metadata != NULL) {
            wanted.metadata = xstrndup(chain->metadata, chain->metadata_length);
            wanted.metadata_length = chain->metadata_length;
        }
    }
    job_join(store, &wanted, waiter);
}

void image_downloads_leave(struct image_waiter *waiter)
{
    if (waiter->job == NULL)
        return;
    TAILQ_REMOVE(&waiter->job->waiters, waiter, link);
    waiter->job = NULL;
}

void image_downloads_remove_chain(struct image_downloads *store, const char *digest,
                                  const char *architecture)
{
    AUTO_FREE char *path = image_downloads_chain_path(store, digest, architecture);
    struct error error = ERROR_INIT;
    if (file_remove_tree(path, &error) < 0)
        log_warn("an image's files stay", "reason", error.message);
}

static struct oci_client *create_client(const struct image_downloads *store)
{
    struct registry_login login = {0};
    struct error error = ERROR_INIT;
    if (registry_logins_find(store->options.logins, store->registry, &login, &error) < 0)
        log_error("the registry is asked without a login", "registry", store->registry, "error",
                  error.message);
    struct oci_client_options options = {.http = store->options.http,
                                         .url = store->registry,
                                         .attempts = 1,
                                         .stall_timeout_s = store->options.stall_timeout_s,
                                         .username = login.username,
                                         .password = login.password};
    struct oci_client *client = oci_client_create(&options);
    registry_login_release(&login);
    return client;
}

const char *image_downloads_registry(const struct image_downloads *store)
{
    return store->registry != NULL ? store->registry : "";
}

void image_downloads_set_registry(struct image_downloads *store, const char *url)
{
    if (url[0] == '\0' || (store->registry != NULL && strcmp(store->registry, url) == 0))
        return;
    /* Destroying the client ends its calls without a callback: their jobs start again. */
    oci_client_destroy(store->client);
    free(store->registry);
    store->registry = xstrdup(url);
    store->client = create_client(store);
    struct image_job *job;
    TAILQ_FOREACH(job, &store->jobs, link)
    {
        if (job->place == JOB_AT_HOST || job->place == JOB_IN_LINE || job->place == JOB_UNPACKING)
            continue;
        job->place = JOB_IDLE;
        uv_timer_start(&job->retry, on_retry, 0, 0);
    }
}

struct image_downloads *image_downloads_create(const struct image_downloads_options *options)
{
    struct image_downloads *store = xcalloc(1, sizeof *store);
    store->options = *options;
    TAILQ_INIT(&store->jobs);
    store->contents = image_contents_create(!options->unpacks_again);
    return store;
}

void image_downloads_destroy(struct image_downloads *store)
{
    if (store == NULL)
        return;
    oci_client_destroy(store->client);
    while (!TAILQ_EMPTY(&store->jobs))
        job_destroy(TAILQ_FIRST(&store->jobs));
    image_contents_destroy(store->contents);
    free(store->registry);
    free(store);
}
