/* How each family is told its address, its environment and its arguments: the exact form of its
 * command line, one function a family. Used by the table alone (family.c). Pure functions. */
#pragma once

#include "image-format/command_line.h"
#include "image-format/family.h"
#include "lib/buffer.h"

/* The line as it grows, with the family's limits. */
struct line {
    const struct family *family;
    struct buffer text;
    size_t arguments;
};

/* What a line is made of. */
struct family_line {
    const struct json_strings *image; /* the image's own argv, its variables expanded */
    size_t image_options;             /* how many of them, at the front, are the runtime's own */
    bool tells_address;               /* the image's argv says the address itself */
    const struct json_strings *extra; /* the service's args */
    const struct json_map *environment;
    const struct command_line_values *values;
    bool has_initrd;
    bool has_kernel; /* else its firmware boots a disk, and nobody reads a line */
};

int family_line_shoal(const struct family_line *parts, struct line *line, struct error *error);
int family_line_linux(const struct family_line *parts, struct line *line, struct error *error);
int family_line_unikraft(const struct family_line *parts, struct line *line, struct error *error);
int family_line_solo5(const struct family_line *parts, struct line *line, struct error *error);
int family_line_osv(const struct family_line *parts, struct line *line, struct error *error);
int family_line_rumprun(const struct family_line *parts, struct line *line, struct error *error);
int family_line_hermit(const struct family_line *parts, struct line *line, struct error *error);
/* The image's words and the service's, as they are. */
int family_line_plain(const struct family_line *parts, struct line *line, struct error *error);
/* No line at all. */
int family_line_none(const struct family_line *parts, struct line *line, struct error *error);
/* The runtime's own options stand in front of a Shoal guest's arguments. */
bool family_line_is_runtime_option(const char *argument);
