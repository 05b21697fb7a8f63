/* Shared by image_downloads.c (jobs, chains, parts) and image_downloads_unpack.c (packed layers).
 */
#pragma once

#include "agent/image_contents.h"
#include "agent/image_downloads.h"
#include "agent/image_unpack.h"
#include "lib/oci_client.h"

enum job_kind { JOB_CHAIN, JOB_PART, JOB_UNPACK };
/* Whose answer a job waits for. */
enum job_place {
    JOB_IDLE,
    JOB_AT_REGISTRY,
    JOB_AT_HOST,
    JOB_IN_LINE, /* for a thread */
    JOB_UNPACKING,
};

/* A download that some wait for. */
struct image_job {
    struct image_downloads *store;
    enum job_kind kind;
    char *repository;
    char digest[DIGEST_TEXT_MAX];
    char architecture[16];        /* JOB_CHAIN, JOB_UNPACK */
    uint64_t size;                /* JOB_PART */
    bool is_pulled;               /* JOB_PART: the import was tried after a pull */
    bool is_local;                /* JOB_PART: it is not in the registry, but unpacked here */
    struct image_verified *image; /* JOB_UNPACK: of its config only how it boots */
    size_t layer;                 /* JOB_UNPACK: the one that is fetched */
    char *metadata;               /* JOB_UNPACK: what its layers must hold; NULL: nothing */
    size_t metadata_length;
    bool is_fresh;               /* JOB_UNPACK: all layers were pulled by this job */
    struct image_unpack *unpack; /* JOB_UNPACKING */
    uv_timer_t retry;
    uint64_t retry_delay_ms;
    enum instance_state state; /* what those who wait were told last */
    const char *cause;         /* NULL: none */
    char message[ERROR_MESSAGE_MAX];
    enum job_place place;
    uint64_t request; /* JOB_AT_HOST */
    TAILQ_HEAD(, image_waiter) waiters;
    TAILQ_ENTRY(image_job) link;
};

struct image_downloads {
    struct image_downloads_options options;
    struct oci_client *client; /* NULL: no registry known yet */
    char *registry;
    TAILQ_HEAD(, image_job) jobs;
    size_t unpacking; /* threads that run */
    struct image_contents *contents;
};

void image_job_run(struct image_job *job);
/* Tells those who wait, and tries again later or ends the job. */
void image_job_fail(struct image_job *job, const struct error *error);
/* Tells those who wait; the job is gone. */
void image_job_end(struct image_job *job, const struct error *error);
void image_job_tell(struct image_job *job, enum instance_state state, const char *cause,
                    const char *message);
/* True, or the job has failed for now: nobody has named a registry yet. */
bool image_job_has_registry(struct image_job *job);

/* ERROR_STORAGE_FULL when the disk has no room for so many bytes more; says how many are missing.
 */
int image_job_check_room(const struct image_job *job, uint64_t bytes, struct error *error);
/* Removes what nobody uses, until so many bytes are free that were not; false: there is nothing. */
bool image_job_make_room(const struct image_job *job, uint64_t bytes);
/* What it takes in all: beside what was pulled or unpacked lies the host half's copy. */
uint64_t image_job_bytes(const struct image_job *job);

/* JOB_UNPACK's steps. */
void image_job_unpack(struct image_job *job);
/* What it holds; when the job goes. */
void image_job_unpack_finish(struct image_job *job);
