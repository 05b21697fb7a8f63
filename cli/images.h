/* Names of images in the local store. */
#pragma once

#include "cli/cli.h"
#include "lib/image_reference.h"

/* The name under which the local store knows the image that was typed: host, repository, tag. */
int images_local_name(struct cli *cli, const char *text, char ret_name[IMAGE_TEXT_MAX],
                      struct error *error);
