/* What guests write to their disks: one qcow2 file for each disk of a microVM, on top of the image
 * that all instances share read-only.
 *
 * Fresh at every boot, so that what boots is what was verified; gone with the microVM. Each belongs
 * to its QEMU's user. Files are named <id>.<disk>. Blocking; several threads for different ids. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/error.h"

struct overlays;

/* What an overlay lies on. */
struct overlay_base {
    const char *path;   /* as QEMU sees it */
    const char *format; /* "raw" or "qcow2" */
    uint64_t size;      /* that the guest sees, in bytes */
};

/* Below <state>: host/overlays. `shown` is where QEMU sees that folder. */
struct overlays *overlays_create(const char *state_directory, const char *shown,
                                 struct error *error);
void overlays_destroy(struct overlays *overlays);
/* The folder itself, to be shown. */
const char *overlays_folder(const struct overlays *overlays);

/* What the bytes of an image file say it is: qcow2 by its magic number, raw otherwise. Errors as
 * of qcow2_check, and ERROR_IO. Fills format and size. */
int overlay_judge(int image, uint64_t file_size, struct overlay_base *ret_base,
                  struct error *error);
/* Makes the overlay of a disk anew. The caller frees `ret_path`, which is as QEMU sees it. */
int overlays_make(struct overlays *overlays, const char *id, size_t disk,
                  const struct overlay_base *base, uint32_t uid, char **ret_path,
                  struct error *error);
/* Removes all of one instance. */
void overlays_remove(struct overlays *overlays, const char *id);
/* Removes those of instances that are not kept. */
void overlays_sweep(struct overlays *overlays, bool (*is_kept)(void *context, const char *id),
                    void *context);
