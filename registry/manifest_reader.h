/* Reads a manifest as far as a registry must: that it is one, what it is called, and what it refers
 * to. Pure functions on bytes that anyone may send; knows no HTTP and no store. */
#pragma once

#include "registry/metadata/metadata.h"

/* A manifest or index by the OCI image spec 1.1, or docker's older forms of the two. `content_type`
 * (may be NULL) is how the client called it; what it calls itself must agree, and one of the two
 * must be there. Its subject is no reference, and a layer that has `urls` of its own or must not be
 * distributed is one to `elsewhere`.
 * ERROR_INVALID says what is wrong. The caller finishes both. */
int manifest_read(const char *bytes, size_t length, const char *content_type,
                  struct metadata_manifest *ret_manifest,
                  struct metadata_references *ret_references, struct error *error);
