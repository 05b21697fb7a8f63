/* Image files on this node: chains (index, manifest, config, signatures) saved below `chains`, with
 * the packed layers of images that have some; parts (kernel, initrd, disks) pulled or unpacked into
 * `staging` and handed to the host half for import by digest.
 *
 * One download serves every instance that waits for it. A registry that cannot be reached is tried
 * again with back-off for as long as somebody waits. Judges nothing: image_preparation.h does.
 * Loop thread only. */
#pragma once

#include <sys/queue.h>

#include "agent/host_client.h"
#include "agent/image_cache.h"
#include "image-format/chain.h"
#include "lib/http_client.h"
#include "lib/registry_login.h"

struct image_downloads;
struct image_job;

struct image_downloads_options {
    uv_loop_t *loop;
    struct http_client *http;
    struct host_client *host;
    const char *chains_directory;         /* kept by reference */
    const char *staging_directory;        /* kept by reference */
    const struct registry_logins *logins; /* the same; NULL: none */
    unsigned stall_timeout_s;             /* of the registry's transfers; 0: 30 s */
    struct image_cache *cache;            /* told what comes, asked for room; NULL: nobody */
    bool unpacks_again; /* after each start, whatever is recorded of what archives hold */
};

/* One who waits; embedded in the caller, who leaves before it goes. */
struct image_waiter {
    /* What is going on: fetching, or verifying; a cause ("" : none) when it is being tried again.
     */
    void (*on_state)(enum instance_state state, const char *cause, const char *message, void *data);
    /* `error` NULL: it is there. ERROR_NOT_FOUND, ERROR_SIGNATURE, ...: it will not come. */
    void (*on_done)(const struct error *error, void *data);
    void *data;
    struct image_job *job; /* NULL: waits for nothing */
    TAILQ_ENTRY(image_waiter) link;
};

struct image_downloads *image_downloads_create(const struct image_downloads_options *options);
/* Nobody may be waiting any more. */
void image_downloads_destroy(struct image_downloads *store);
/* "http://host:port"; what runs starts again there when it changed. */
void image_downloads_set_registry(struct image_downloads *store, const char *url);

/* The URL that was set last; "" before the first. */
const char *image_downloads_registry(const struct image_downloads *store);

/* The folder of a chain; the caller frees it. */
char *image_downloads_chain_path(const struct image_downloads *store, const char *digest,
                                 const char *architecture);
/* Fetches the chain anew and saves it. */
void image_downloads_fetch_chain(struct image_downloads *store, const char *repository,
                                 const char *digest, const char *architecture,
                                 struct image_waiter *waiter);
/* Has the host half import a part, pulling it first when it is not there yet. */
void image_downloads_fetch_part(struct image_downloads *store, const char *repository,
                                const char *digest, uint64_t size, struct image_waiter *waiter);
/* The same for one that was unpacked here: ERROR_NOT_FOUND when it is neither imported nor staged
 * whole. */
void image_downloads_import_part(struct image_downloads *store, const char *digest, uint64_t size,
                                 struct image_waiter *waiter);
/* Fetches an image's packed layers and unpacks its parts into the staging folder. What they turned
 * out to be, image_downloads_recall knows from then on. */
void image_downloads_unpack(struct image_downloads *store, const char *repository,
                            const char *digest, const struct image_verified *image,
                            const struct image_chain *chain, struct image_waiter *waiter);
/* Fills in what is known of the parts that were unpacked; whether all are known. The chain's
 * metadata has to be what the archives held, for nothing else proves it. */
bool image_downloads_recall(const struct image_downloads *store, const struct image_chain *chain,
                            struct image_verified *verified);
void image_downloads_leave(struct image_waiter *waiter);
/* An image was proven: the cache is told that it is used, and of its parts. */
void image_downloads_note(const struct image_downloads *store, const struct image_cache_name *name,
                          const struct image_verified *verified);
/* Removes files of the staging folder that were not written to for `age_ms` and that no download
 * is about; returns how many bytes. */
uint64_t image_downloads_sweep(const struct image_downloads *store, uint64_t age_ms);
/* Of the files in a chain's folder. */
uint64_t image_downloads_folder_bytes(const char *path);
/* Nobody uses the chain any more: removes our files of it. */
void image_downloads_remove_chain(struct image_downloads *store, const char *digest,
                                  const char *architecture);
