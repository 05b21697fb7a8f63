/* What is attached to an image beside signatures: SBOMs (SPDX, CycloneDX) and provenance (SLSA).
 * Tells whether a file is what it is said to be, and what of it is pushed, signed or not.
 *
 * Sources: SPDX 2.3 clause 6 ("spdxVersion") and 3.0 ("@context"), CycloneDX 1.x JSON
 * ("bomFormat"), SLSA v1 provenance ("buildDefinition", "runDetails"); predicate types as cosign
 * attests them
 * (`cosign attest --type spdxjson|cyclonedx|slsaprovenance1`). Pure functions. */
#pragma once

#include "image-format/bundle.h"

enum attachment_type { ATTACHMENT_SPDX, ATTACHMENT_CYCLONEDX, ATTACHMENT_SLSA };
extern const char *const attachment_type_names[]; /* ends with a NULL */

#define IN_TOTO_TYPE   "application/vnd.in-toto+json"
#define ATTACHMENT_MAX (16u << 20) /* bytes of a file */

struct attachment {
    const char *media_type; /* of `content` */
    char *content;          /* what is pushed when nobody signs it; ends with a NUL */
    size_t content_length;
    char predicate_type[PREDICATE_TYPE_MAX];
    char *statement; /* about the image, to be signed */
};

/* `bytes` are a document of `type` in JSON: of SLSA the predicate, or a whole in-toto statement
 * about `digest`. ERROR_INVALID says what is missing. */
int attachment_read(enum attachment_type type, const char *bytes, size_t length, const char *digest,
                    struct attachment *ret_attachment, struct error *error);
void attachment_release(struct attachment *attachment);
/* "SBOM (SPDX)" for the media type or the predicate type of such a thing; NULL for others. */
const char *attachment_describe(const char *type);
