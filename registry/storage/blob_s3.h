/* The backend that keeps blobs in an S3-compatible bucket, see blob_backend.h. */
#pragma once

#include "registry/storage/blob_backend.h"
#include "registry/storage/s3_settings.h"

/* Copies the settings. Fails when the bucket cannot be listed: the message says what to mend. */
int blob_s3_open(const struct s3_settings *settings, struct blob_backend **ret_backend,
                 struct error *error);
