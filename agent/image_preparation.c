#include "agent/image_preparation.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/image_reference.h"
#include "lib/log.h"
#include "lib/xalloc.h"

struct image_preparation {
    struct image_preparation_options options;
    char *repository;
    char digest[DIGEST_TEXT_MAX];
    char architecture[16];
    uv_timer_t step; /* begins it, from the loop */
    struct image_waiter waiter;
    struct image_chain chain; /* that `verified` was proven from */
    struct image_verified verified;
    size_t part;              /* of `verified`: the one that is fetched */
    bool is_unpacked;         /* its packed layers were, for this proof */
    struct trust_need proven; /* the keys that `verified` was proven with */
    bool is_fresh;            /* the chain was fetched by this preparation */
    bool waits_for_trust;
    enum api_boot_step phase; /* whose time passes, */
    uint64_t phase_since_ns;  /* since then */
};

/* The time since the last call went into the phase that ends. */
static void enter(struct image_preparation *preparation, enum api_boot_step phase)
{
    uint64_t now = uv_hrtime();
    preparation->options.steps->us[preparation->phase] +=
        (now - preparation->phase_since_ns) / 1000;
    preparation->phase = phase;
    preparation->phase_since_ns = now;
}

static void fetch(struct image_preparation *preparation);

static void on_closed(uv_handle_t *handle)
{
    struct image_preparation *preparation = handle->data;
    free(preparation->repository);
    free(preparation);
}

void image_preparation_cancel(struct image_preparation *preparation)
{
    if (preparation == NULL)
        return;
    image_downloads_leave(&preparation->waiter);
    image_verified_release(&preparation->verified);
    image_chain_release(&preparation->chain);
    preparation->waits_for_trust = false;
    uv_close((uv_handle_t *)&preparation->step, on_closed);
}

static void fail(struct image_preparation *preparation, const struct error *error)
{
    const char *cause = INSTANCE_CAUSE_IMAGE_INVALID;
    if (error->code == ERROR_NOT_FOUND)
        cause = INSTANCE_CAUSE_IMAGE_NOT_FOUND;
    else if (error->code == ERROR_SIGNATURE)
        cause = INSTANCE_CAUSE_SIGNATURE_REJECTED;
    else if (error->code == ERROR_POLICY)
        cause = INSTANCE_CAUSE_POLICY_REFUSED;
    else if (error->code == ERROR_DENIED)
        cause = INSTANCE_CAUSE_REGISTRY_DENIED;
    struct image_preparation_options options = preparation->options;
    image_preparation_cancel(preparation);
    options.on_failed(cause, error->message, options.data);
}

static void prove(struct image_preparation *preparation);

static void tell(struct image_preparation *preparation, enum instance_state state,
                 const char *cause, const char *message)
{
    preparation->options.on_state(state, cause, message, preparation->options.data);
}

/* --- the parts --- */

/* Whether it was proven with the keys of now, which are as new as they have to be. */
static bool has_todays_keys(const struct image_preparation *preparation)
{
    const struct trust *trust = preparation->options.trust;
    const struct trust_need *needed = preparation->options.trust_needed;
    return trust->term == preparation->proven.term &&
           trust->revision == preparation->proven.revision &&
           trust_is_since(trust, needed->term, needed->revision);
}

static void note(const struct image_preparation *preparation, const struct image_verified *verified)
{
    const struct image_cache_name name = {preparation->repository, preparation->digest,
                                          preparation->architecture};
    image_downloads_note(preparation->options.store, &name, verified);
}

static void finish(struct image_preparation *preparation)
{
    /* A download may take hours: what boots is trusted now, not then. */
    if (!has_todays_keys(preparation)) {
        prove(preparation);
        return;
    }
    enter(preparation, BOOT_STEP_IMPORT);
    struct image_preparation_options options = preparation->options;
    struct image_verified verified = preparation->verified;
    preparation->verified = (struct image_verified){0};
    note(preparation, &verified);
    image_preparation_cancel(preparation);
    options.on_ready(&verified, options.data);
    image_verified_release(&verified);
}

static void fail_part(struct image_preparation *preparation, const struct error *error)
{
    struct error told = *error;
    if (error->code == ERROR_SIGNATURE || error->code == ERROR_INVALID)
        error_wrap(&told, "image %s, signed by key %s", preparation->digest,
                   preparation->verified.key_id);
    fail(preparation, &told);
}

static void next_part(struct image_preparation *preparation);

static void on_unpacked(const struct error *error, void *data)
{
    struct image_preparation *preparation = data;
    if (error != NULL)
        fail_part(preparation, error);
    else
        next_part(preparation);
}

static void unpack(struct image_preparation *preparation)
{
    enter(preparation, BOOT_STEP_PULL);
    preparation->is_unpacked = true;
    preparation->waiter.on_done = on_unpacked;
    image_downloads_unpack(preparation->options.store, preparation->repository, preparation->digest,
                           &preparation->verified, &preparation->chain, &preparation->waiter);
}

static void on_part(const struct error *error, void *data)
{
    struct image_preparation *preparation = data;
    const struct image_part *part = &preparation->verified.parts[preparation->part];
    if (error == NULL) {
        preparation->part++;
        next_part(preparation);
    } else if (error->code == ERROR_NOT_FOUND && part->packing != IMAGE_PACKING_NONE &&
               !preparation->is_unpacked) {
        unpack(preparation);
    } else {
        fail_part(preparation, error);
    }
}

/* Kernel, initrd and disks one after the other, each to the host half. */
static void next_part(struct image_preparation *preparation)
{
    struct image_downloads *store = preparation->options.store;
    struct image_verified *verified = &preparation->verified;
    if (!image_downloads_recall(store, &preparation->chain, verified)) {
        unpack(preparation);
        return;
    }
    if (preparation->part == verified->part_count) {
        finish(preparation);
        return;
    }
    enter(preparation, BOOT_STEP_IMPORT);
    const struct image_part *part = &verified->parts[preparation->part];
    preparation->waiter.on_done = on_part;
    if (part->packing == IMAGE_PACKING_NONE)
        image_downloads_fetch_part(store, preparation->repository, part->digest, part->size,
                                   &preparation->waiter);
    else
        image_downloads_import_part(store, part->digest, part->size, &preparation->waiter);
}

static void on_state(enum instance_state state, const char *cause, const char *message, void *data)
{
    enter(data, state == INSTANCE_FETCHING ? BOOT_STEP_PULL : BOOT_STEP_IMPORT);
    tell(data, state, cause, message);
}

/* --- the proof --- */

static int verify(struct image_preparation *preparation, struct error *error)
{
    AUTO_FREE char *path = image_downloads_chain_path(
        preparation->options.store, preparation->digest, preparation->architecture);
    const struct image_rules rules =
        trust_rules(preparation->options.trust,
                    image_registry_host(image_downloads_registry(preparation->options.store)),
                    preparation->repository);
    struct image_chain *chain = &preparation->chain;
    image_chain_release(chain);
    image_verified_release(&preparation->verified);
    preparation->part = 0;
    preparation->is_unpacked = false;
    if (image_chain_load(path, chain, error) < 0)
        return -1;
    if (strcmp(chain->pinned, preparation->digest) != 0)
        return error_set(error, ERROR_SIGNATURE, "%s holds the chain of %s instead of %s", path,
                         chain->pinned, preparation->digest);
    return image_chain_verify(chain, &rules, preparation->architecture, &preparation->verified,
                              error);
}

static void warn(const struct image_preparation *preparation)
{
    if (preparation->verified.verdict.outcome != POLICY_WARNED)
        return;
    AUTO_FREE char *text = policy_verdict_text(&preparation->verified.verdict);
    log_warn("an image boots that its policy would refuse: the policy only warns", "digest",
             preparation->digest, "repository", preparation->repository, "reason", text);
}

static void prove(struct image_preparation *preparation)
{
    const struct trust *trust = preparation->options.trust;
    const struct trust_need *needed = preparation->options.trust_needed;
    enter(preparation, BOOT_STEP_VERIFY);
    preparation->proven = (struct trust_need){trust->term, trust->revision};
    preparation->waits_for_trust = !trust_is_since(trust, needed->term, needed->revision);
    tell(preparation, INSTANCE_VERIFYING, "",
         preparation->waits_for_trust ? "waiting for the scheduler's list of trusted keys" : "");
    if (preparation->waits_for_trust)
        return;
    struct error error = ERROR_INIT;
    if (verify(preparation, &error) < 0) {
        /* What was saved earlier may be damaged or lack a signature that was added since. */
        if (!preparation->is_fresh)
            fetch(preparation);
        else
            fail(preparation, &error);
        return;
    }
    note(preparation, &preparation->verified);
    warn(preparation);
    log_info("image verified", "digest", preparation->digest, "manifest",
             preparation->verified.manifest_digest, "made_for", preparation->verified.made_for,
             "key", preparation->verified.key_id, "key_name", preparation->verified.key_name);
    if (preparation->options.is_imported &&
        image_downloads_recall(preparation->options.store, &preparation->chain,
                               &preparation->verified))
        finish(preparation);
    else
        next_part(preparation);
}

static void on_chain(const struct error *error, void *data)
{
    struct image_preparation *preparation = data;
    if (error != NULL) {
        fail(preparation, error);
        return;
    }
    preparation->is_fresh = true;
    prove(preparation);
}

static void fetch(struct image_preparation *preparation)
{
    enter(preparation, BOOT_STEP_PULL);
    preparation->waiter.on_done = on_chain;
    image_downloads_fetch_chain(preparation->options.store, preparation->repository,
                                preparation->digest, preparation->architecture,
                                &preparation->waiter);
}

static void on_step(uv_timer_t *timer)
{
    struct image_preparation *preparation = timer->data;
    AUTO_FREE char *path = image_downloads_chain_path(
        preparation->options.store, preparation->digest, preparation->architecture);
    if (access(path, F_OK) == 0)
        prove(preparation);
    else
        fetch(preparation);
}

static void on_trust_step(uv_timer_t *timer)
{
    prove(timer->data);
}

void image_preparation_trust_changed(struct image_preparation *preparation)
{
    if (preparation == NULL || !preparation->waits_for_trust)
        return;
    preparation->waits_for_trust = false;
    uv_timer_start(&preparation->step, on_trust_step, 0, 0);
}

struct image_preparation *image_preparation_start(uv_loop_t *loop,
                                                  const struct image_preparation_options *options)
{
    struct image_preparation *preparation = xcalloc(1, sizeof *preparation);
    preparation->options = *options;
    preparation->repository = xstrdup(options->repository);
    snprintf(preparation->digest, sizeof preparation->digest, "%s", options->digest);
    snprintf(preparation->architecture, sizeof preparation->architecture, "%s",
             options->architecture);
    preparation->phase = BOOT_STEP_VERIFY;
    preparation->phase_since_ns = uv_hrtime();
    preparation->waiter.on_state = on_state;
    preparation->waiter.data = preparation;
    uv_timer_init(loop, &preparation->step);
    preparation->step.data = preparation;
    uv_timer_start(&preparation->step, on_step, 0, 0);
    return preparation;
}
