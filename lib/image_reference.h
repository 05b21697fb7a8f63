/* Names of images: [host[:port]/]repository[:tag][@digest].
 *
 * Without a host the image is in the cluster's registry, and one component gets the namespace in
 * front: "hello:1.0" is "default/hello:1.0". A first component with a dot or a colon, or
 * "localhost", is a host (as docker reads it). Repository and tag follow the grammar of the OCI
 * distribution spec 1.1. Pure functions. */
#pragma once

#include <stdbool.h>

#include "lib/crypto.h"
#include "lib/error.h"

#define REPOSITORY_MAX 256
#define TAG_MAX        129
#define IMAGE_TEXT_MAX 768

struct image_reference {
    char host[256]; /* "" : the cluster's registry */
    char repository[REPOSITORY_MAX];
    char tag[TAG_MAX];            /* "latest" when neither tag nor digest is given */
    char digest[DIGEST_TEXT_MAX]; /* "" when not pinned */
};

int image_reference_parse(const char *text, const char *namespace_name,
                          struct image_reference *ret_reference, struct error *error);
/* The canonical form, host and digest included where present. */
void image_reference_format(const struct image_reference *reference, char ret_text[IMAGE_TEXT_MAX]);
/* A registry's URL as images name it: its host, with its port. Points into `url`. */
const char *image_registry_host(const char *url);
bool repository_is_valid(const char *repository);
bool tag_is_valid(const char *tag);
