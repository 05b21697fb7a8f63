/* Unikernel.yaml: the source form of an image.
 *
 *   family: shoal                     # left out or "auto": told from the kernel's own bytes
 *   architectures:
 *     amd64: {build: make hello-amd64, kernel: hello.elf, debug: hello.debug}
 *     arm64: {kernel: hello-arm64.elf, initrd: init.cpio, disks: [data.img]}
 *   memory: {min: 8Mi, default: 32Mi}
 *   vcpus: {default: 1, max: 1}
 *   cmdline: ["--ip=${net.address}/${net.prefix}", "--gateway=${net.gateway}"]
 *   args: ["--greeting", "ahoy"]
 *   ports: [{name: http, port: 8080, mode: http}, {name: admin, port: 8081, private: true}]
 *   health: {readiness: {http: {path: /healthz, port: http}}}
 *   stop: {method: console}
 *   compress: zstd
 *
 * Owns its keys, defaults and refusals, each with file, line and column. Paths are relative to the
 * file and may not leave its folder, not by a symbolic link either. Runs nothing: the `build`
 * commands are the caller's to run. Reads the disk; not for the loop thread. */
#pragma once

#include "image-format/image_config.h"

#define RECIPE_FILE        "Unikernel.yaml"
#define RECIPE_PATH_MAX    512
#define RECIPE_COMMAND_MAX 4096 /* bytes of a `build` command */
#define RECIPE_SIZE_MAX    (1u << 20)
#define RECIPE_DISKS_MAX   IMAGE_DISKS_MAX
#define RECIPE_FAMILY_AUTO "auto"

enum recipe_compression { RECIPE_COMPRESS_NONE, RECIPE_COMPRESS_ZSTD };
extern const char *const recipe_compression_names[]; /* ends with NULL */

/* What makes the image of one architecture; paths are relative to the recipe's folder. */
struct recipe_architecture {
    char *build;                  /* for /bin/sh, makes the files; NULL: they are there */
    char kernel[RECIPE_PATH_MAX]; /* "": the first disk boots */
    char initrd[RECIPE_PATH_MAX]; /* "": none */
    struct json_strings disks;
    char debug[RECIPE_PATH_MAX]; /* symbols for people; "": none */
    char protocol[16];           /* "": the family's own */
    char machine[16];            /* "": the family's own */
};

#define RECIPE_ARCHITECTURES 2
extern const char *const recipe_architecture_names[]; /* "amd64", "arm64", NULL */

struct recipe_architectures {
    struct recipe_architecture items[RECIPE_ARCHITECTURES];
    bool present[RECIPE_ARCHITECTURES];
};

struct recipe {
    char family[32]; /* RECIPE_FAMILY_AUTO: not known before the kernel is looked at */
    struct recipe_architectures architectures;
    struct image_memory memory; /* 0: the family's own */
    struct image_vcpus vcpus;
    struct json_strings cmdline;
    struct json_strings args; /* behind cmdline */
    struct api_port *ports;
    size_t port_count;
    bool has_health;
    struct api_health health;
    bool has_stop;
    struct image_stop stop;
    enum recipe_compression compression;
    char *path;                       /* of the file, as given (or <folder>/Unikernel.yaml) */
    char *folder;                     /* of the file, canonical */
    char digest[DIGEST_TEXT_MAX];     /* of the file's bytes */
    struct yaml_documents *documents; /* where each value stands, for messages */
};

/* The digests of the bytes that boot, and what they were found to be. */
struct recipe_parts {
    const char *family;
    const struct json_strings *protocols; /* by which the bytes boot; NULL: any */
    char kernel[DIGEST_TEXT_MAX];         /* "": none */
    char initrd[DIGEST_TEXT_MAX];         /* "": none */
    struct json_strings disks;
};

/* From text, which is of no folder: for who opens none of its files. `name` stands in messages. */
int recipe_parse(const char *name, const char *text, size_t length, struct recipe *ret_recipe,
                 struct error *error);
/* `path` is the file, or a folder with a Unikernel.yaml in it. */
int recipe_load(const char *path, struct recipe *ret_recipe, struct error *error);
void recipe_release(struct recipe *recipe);
/* The config blob for an architecture (an index of recipe_architecture_names) made of `parts`,
 * checked as a node will check it. The caller releases it. */
int recipe_config(const struct recipe *recipe, size_t architecture,
                  const struct recipe_parts *parts, struct image_config *ret_config,
                  struct error *error);
/* Puts the place of a value in front of the message: `pointer` is one into the recipe. -1. */
int recipe_locate(const struct recipe *recipe, const char *pointer, struct error *error);
/* Opens one of the recipe's files for reading, refusing what leads out of its folder and what is
 * no regular file. */
int recipe_open(const struct recipe *recipe, const char *path, int *ret_descriptor,
                struct error *error);
