/* Where the blobs of a state folder are: written down once, so that settings that say another place
 * are noticed before every blob seems to be missing. Blocking. */
#pragma once

#include "lib/error.h"

/* `place` is for people to read: "files", or "s3 bucket/prefix". ERROR_CONFLICT: the
 * folder's blobs are elsewhere. */
int blob_place_check(const char *state, const char *place, struct error *error);
/* After the place was reached: writes it down, if nothing is yet. */
int blob_place_keep(const char *state, const char *place, struct error *error);
