/* Unikernel.yaml: the source form of an image.
 *
 *   family: shoal
 *   architectures: {amd64: {kernel: build/hello.elf}}
 *   memory: {min: 8Mi, default: 32Mi}
 *   vcpus: {default: 1, max: 1}
 *   cmdline: ["--ip=${net.address}/${net.prefix}", "--gateway=${net.gateway}"]
 *   ports: [{name: http, port: 8080, mode: http}, {name: admin, port: 8081, private: true}]
 *   health: {readiness: {http: {path: /healthz, port: http}}}
 *   stop: {method: console}
 *
 * Owns its keys, defaults and refusals, each with file, line and column. Paths are relative to the
 * file and may not leave its folder, not by a symbolic link either. Reads the disk; not for the
 * loop thread. */
#pragma once

#include "image-format/image_config.h"

#define RECIPE_FILE       "Unikernel.yaml"
#define RECIPE_PATH_MAX   512
#define RECIPE_SIZE_MAX   (1u << 20)
#define RECIPE_ARCH_AMD64 "amd64"

struct recipe_kernel {
    char kernel[RECIPE_PATH_MAX]; /* relative to the recipe's folder */
};

struct recipe_architectures {
    struct recipe_kernel amd64;
    bool has_amd64;
};

struct recipe {
    char family[32];
    struct recipe_architectures architectures;
    struct image_memory memory;
    struct image_vcpus vcpus;
    struct json_strings cmdline;
    struct api_port *ports;
    size_t port_count;
    bool has_health;
    struct api_health health;
    bool has_stop;
    struct image_stop stop;
    char *path;   /* of the file, as given (or <folder>/Unikernel.yaml) */
    char *folder; /* of the file, canonical */
};

/* `path` is the file, or a folder with a Unikernel.yaml in it. */
int recipe_load(const char *path, struct recipe *ret_recipe, struct error *error);
void recipe_release(struct recipe *recipe);
/* The config blob for one architecture, with a kernel of that digest. The caller releases it. */
void recipe_config(const struct recipe *recipe, const char *architecture, const char *kernel_digest,
                   struct image_config *ret_config);
/* Opens one of the recipe's files for reading, refusing what leads out of its folder. */
int recipe_open(const struct recipe *recipe, const char *path, int *ret_descriptor,
                struct error *error);
