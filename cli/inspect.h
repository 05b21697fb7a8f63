/* What `image inspect` shows: a file by its bytes, or an image by its documents. */
#pragma once

#include "cli/cli.h"
#include "image-format/detect.h"

/* Whether the word names a file: one that is there, or one that can only be meant as a path. */
bool inspect_is_path(const char *word);
int inspect_file(struct cli *cli, const char *path, struct error *error);
int inspect_image(struct cli *cli, const char *name, bool is_remote, struct error *error);

/* "Title       text", with what cannot be shown as '?'. */
void inspect_print(const char *title, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Format, devices, disk and evidence, line by line. */
void inspect_print_findings(const struct detection *detection);
