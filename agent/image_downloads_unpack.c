/* Packed layers: fetched one by one into the folder of the image's chain, then unpacked. */
#include <string.h>
#include <unistd.h>

#include "agent/image_downloads_internal.h"
#include "image-format/foreign.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

/* Threads at a time: they hash and unpack, and guests need the processors too. */
#define UNPACKING_MAX 2

static char *layers_path(const struct image_job *job)
{
    AUTO_FREE char *chain = image_downloads_chain_path(job->store, job->digest, job->architecture);
    return xasprintf("%s/layers", chain);
}

static char *layer_path(const struct image_job *job, size_t layer)
{
    AUTO_FREE char *folder = layers_path(job);
    return xasprintf("%s/%s", folder, digest_hex(job->image->layers[layer].digest));
}

static bool has_tar(const struct image_verified *image)
{
    for (size_t i = 0; i < image->part_count; i++) {
        if (image->parts[i].packing == IMAGE_PACKING_TAR)
            return true;
    }
    return false;
}

/* Whether a packed part lies in the layer. */
static bool is_needed(const struct image_verified *image, size_t layer)
{
    for (size_t i = 0; i < image->part_count; i++) {
        const struct image_part *part = &image->parts[i];
        if (part->packing == IMAGE_PACKING_TAR ||
            (part->packing == IMAGE_PACKING_ZSTD && part->layer == layer))
            return true;
    }
    return false;
}

static void next_layer(struct image_job *job);

static void on_layer(const struct oci_result *result, void *data)
{
    struct image_job *job = data;
    job->place = JOB_IDLE;
    if (result->error != NULL) {
        image_job_fail(job, result->error);
        return;
    }
    job->layer++;
    next_layer(job);
}

static void pull_layer(struct image_job *job)
{
    const struct image_layer *layer = &job->image->layers[job->layer];
    AUTO_FREE char *path = layer_path(job, job->layer);
    struct error error = ERROR_INIT;
    if (!image_job_has_registry(job))
        return;
    if (image_job_check_room(job, layer->size + image_job_bytes(job), &error) < 0) {
        image_job_fail(job, &error);
        return;
    }
    image_job_tell(job, INSTANCE_FETCHING, "", "");
    job->place = JOB_AT_REGISTRY;
    oci_client_pull_blob(job->store->client, job->repository, layer->digest, layer->size, path,
                         NULL, on_layer, job);
}

/* The digests of what comes out of tar archives are known to nobody else. */
static void remember(const struct image_job *job, const struct image_part *parts)
{
    AUTO_FREE char *folder = image_downloads_chain_path(job->store, job->digest, job->architecture);
    if (has_tar(job->image))
        image_contents_keep(job->store->contents, folder, job->image, job->metadata,
                            job->metadata_length, parts);
}

/* The layers of tar archives stay, so that what boots can be proven again from the bytes on disk
 * without the registry. What a zstd layer holds is named by the manifest itself. */
static void remove_layers(const struct image_job *job)
{
    AUTO_FREE char *folder = layers_path(job);
    file_remove_tree(folder, NULL);
}

static void start_waiting(struct image_downloads *store)
{
    struct image_job *job;
    TAILQ_FOREACH(job, &store->jobs, link)
    {
        if (job->place == JOB_IN_LINE) {
            job->place = JOB_IDLE;
            next_layer(job);
            return;
        }
    }
}

static void on_unpacked(const struct image_unpack_result *result, void *data)
{
    struct image_job *job = data;
    struct image_downloads *store = job->store;
    job->place = JOB_IDLE;
    job->unpack = NULL;
    store->unpacking--;
    if (result->error == NULL) {
        remember(job, result->parts);
        if (!has_tar(job->image))
            remove_layers(job);
        image_job_end(job, NULL);
    } else if (result->error->code == ERROR_SIGNATURE && !job->is_fresh) {
        /* What lay here was damaged. */
        remove_layers(job);
        job->is_fresh = true;
        image_job_run(job);
    } else {
        image_job_fail(job, result->error);
    }
    start_waiting(store);
}

static void unpack(struct image_job *job)
{
    struct image_downloads *store = job->store;
    AUTO_FREE char *folder = layers_path(job);
    if (store->unpacking >= UNPACKING_MAX) {
        job->place = JOB_IN_LINE;
        return;
    }
    struct image_unpack_options options = {
        .loop = store->options.loop,
        .image = job->image,
        .layers = folder,
        .staging = store->options.staging_directory,
        .metadata = job->metadata,
        .metadata_length = job->metadata_length,
    };
    image_job_tell(job, INSTANCE_VERIFYING, "", "");
    job->place = JOB_UNPACKING;
    store->unpacking++;
    job->unpack = image_unpack_start(&options, on_unpacked, job);
}

static void next_layer(struct image_job *job)
{
    for (; job->layer < job->image->layer_count; job->layer++) {
        AUTO_FREE char *path = layer_path(job, job->layer);
        if (is_needed(job->image, job->layer) && access(path, F_OK) < 0) {
            pull_layer(job);
            return;
        }
    }
    unpack(job);
}

void image_job_unpack(struct image_job *job)
{
    AUTO_FREE char *folder = layers_path(job);
    struct error error = ERROR_INIT;
    if (file_make_directory(folder, 0700, &error) < 0) {
        image_job_fail(job, &error);
        return;
    }
    job->layer = 0;
    next_layer(job);
}

void image_job_unpack_finish(struct image_job *job)
{
    image_unpack_abandon(job->unpack);
    free(job->image);
    free(job->metadata);
}

bool image_downloads_recall(const struct image_downloads *store, const struct image_chain *chain,
                            struct image_verified *verified)
{
    AUTO_FREE char *folder =
        image_downloads_chain_path(store, chain->pinned, verified->config.architecture);
    return image_contents_recall(store->contents, folder, chain, verified);
}
