/* A file becomes an object: by one call when it is small, else in parts, two at a time. Any thread;
 * blocks. */
#pragma once

#include "registry/storage/s3_client.h"

/* The first `size` bytes of the file, whose digest is known to be `digest` (sha256 or sha512). The
 * object appears whole or not at all; after a failure the parts are taken back, as far as the
 * endpoint can be reached. */
int s3_upload(struct s3_client *client, const char *key, const char *digest, int descriptor,
              uint64_t size, struct error *error);
