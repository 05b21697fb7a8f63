/* Key files. */
#pragma once

#include "lib/crypto.h"
#include "lib/error.h"

/* PEM from `path`; messages name the file and how to make one. */
int keys_load_private(const char *path, struct private_key **ret_key, struct error *error);
int keys_load_public(const char *path, struct public_key **ret_key, struct error *error);
