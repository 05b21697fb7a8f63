/* Shared by foreign.c and the readers of one tool's images each. */
#pragma once

#include "image-format/foreign.h"

/* What an ordinary image's config says (OCI image spec, config.md). */
struct foreign_config {
    char architecture[32];
    char os[32];
    struct foreign_execution {
        struct json_strings command;     /* Cmd */
        struct json_strings entry_point; /* Entrypoint */
        struct json_strings environment; /* Env, K=V */
        struct json_map labels;
    } config;
};

int foreign_config_parse(const char *bytes, size_t length, struct foreign_config *ret_config,
                         struct error *error);
void foreign_config_release(struct foreign_config *config);

/* Every layer a node may have to look into: tar archives. Others are refused by their type. */
int foreign_add_layers(const struct oci_manifest *manifest, struct image_verified *verified,
                       struct error *error);
/* A part by its path in the layers. A path that climbs, or is too long, is refused. */
int foreign_add_part(struct image_verified *verified, enum image_part_kind kind, const char *path,
                     bool is_optional, struct error *error);
/* Family, architecture, boot row, memory and vcpus of the config, with the family's defaults. */
int foreign_fill_config(struct image_verified *verified, const char *family,
                        const char *architecture, const char *protocol, struct error *error);
/* The config's Env; PATH is no unikernel's business and passed over where there is none. */
int foreign_add_environment(struct image_verified *verified, const struct json_strings *environment,
                            struct error *error);

/* Whether KraftKit, or urunc, made it. */
bool foreign_is_kraftkits(const struct oci_manifest *manifest, const struct foreign_config *config);
bool foreign_is_uruncs(const struct oci_manifest *manifest, const struct foreign_config *config,
                       const char *metadata);
int foreign_read_kraftkits(const struct oci_manifest *manifest, const struct foreign_config *config,
                           struct image_verified *verified, struct error *error);
int foreign_read_uruncs(const struct oci_manifest *manifest, const struct foreign_config *config,
                        const char *metadata, size_t metadata_length,
                        struct image_verified *verified, struct error *error);
