/* Words of the OCI image spec 1.1 and of Shoal's artifacts on it. */
#pragma once

#include <stdint.h>

#include "lib/crypto.h"
#include "lib/json.h"

#define OCI_MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"
#define OCI_INDEX_TYPE    "application/vnd.oci.image.index.v1+json"

#define SHOAL_ARTIFACT_TYPE "application/vnd.shoal.unikernel.v1"
#define SHOAL_CONFIG_TYPE   "application/vnd.shoal.unikernel.config.v1+json"
#define SHOAL_KERNEL_TYPE   "application/vnd.shoal.unikernel.kernel.v1"
#define SHOAL_INITRD_TYPE   "application/vnd.shoal.unikernel.initrd.v1"
#define SHOAL_DISK_TYPE     "application/vnd.shoal.unikernel.disk.v1"
#define SHOAL_DEBUG_TYPE    "application/vnd.shoal.unikernel.debug.v1"

#define COSIGN_PAYLOAD_TYPE         "application/vnd.dev.cosign.simplesigning.v1+json"
#define COSIGN_SIGNATURE_ANNOTATION "dev.cosignproject.cosign/signature"

#define OCI_MANIFEST_LIMIT (4u << 20) /* bytes of a manifest or index */
#define OCI_CONFIG_LIMIT   (1u << 20) /* bytes of a unikernel's config */

struct oci_platform {
    char os[32];
    char architecture[32];
};

struct oci_descriptor {
    char media_type[128];
    char digest[DIGEST_TEXT_MAX];
    uint64_t size;
    bool has_platform;
    struct oci_platform platform;
    struct json_map annotations;
    char artifact_type[128];
};

struct oci_manifest {
    uint32_t schema_version; /* 2 */
    char media_type[128];
    char artifact_type[128];
    bool has_config;
    struct oci_descriptor config;
    struct oci_descriptor *layers;
    size_t layer_count;
    bool has_subject;
    struct oci_descriptor subject;
    struct json_map annotations;
};

struct oci_index {
    uint32_t schema_version;
    char media_type[128];
    char artifact_type[128];
    struct oci_descriptor *manifests;
    size_t manifest_count;
    struct json_map annotations;
};

extern const struct json_record oci_descriptor_record;
extern const struct json_record oci_manifest_record;
extern const struct json_record oci_index_record;
