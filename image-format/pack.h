/* A recipe and its files as an OCI image: blobs, a manifest for each architecture, and an index
 * when there are several. The same inputs give the same digests.
 *
 * Also the form in which an image read back from a local layout is handed on (layout.h). Reads the
 * disk; not for the loop thread. */
#pragma once

#include "image-format/recipe.h"
#include "lib/oci.h"

/* A config or a layer: its bytes in memory, or in the file `path`; one of the two is NULL. */
struct packed_blob {
    char digest[DIGEST_TEXT_MAX];
    uint64_t size;
    char media_type[128];
    char *bytes;
    char *path;
};

/* A manifest or an index. */
struct packed_manifest {
    char digest[DIGEST_TEXT_MAX];
    char media_type[128];
    char architecture[16]; /* "" for an index */
    char *bytes;           /* ends with a NUL that `length` does not count */
    size_t length;
};

/* A file that went into it. */
struct packed_source {
    char *path; /* as the recipe has it */
    char digest[DIGEST_TEXT_MAX];
};

struct packed_image {
    struct packed_blob *blobs; /* each digest once */
    size_t blob_count;
    struct packed_manifest *manifests; /* one an architecture */
    size_t manifest_count;
    bool has_index; /* several architectures */
    struct packed_manifest index;
    struct packed_manifest *referrers; /* what is about the image: SBOMs, provenance, signatures */
    size_t referrer_count;
    struct packed_source *sources; /* of one that was packed here */
    size_t source_count;
};

/* How far the reading of the file `path` is; may be called often. */
typedef void pack_progress(const char *path, uint64_t done, uint64_t total, void *data);

struct pack_options {
    const char *architecture; /* only this one; NULL: all that the recipe has */
    pack_progress *progress;  /* NULL: nobody watches */
    void *progress_data;
    bool has_compression; /* goes before the recipe's */
    enum recipe_compression compression;
    const char *scratch; /* a folder for compressed files, which must live as long as the image */
};

/* `options` NULL: everything, unwatched. Plain kernels are kept in memory; all other files stay
 * where they are, and whoever stores them finds out when they have changed since (ERROR_CONFLICT).
 * Nothing is compressed without a scratch folder. What the files are is told from their bytes, and
 * must agree with the recipe. */
int pack_image(const struct recipe *recipe, const struct pack_options *options,
               struct packed_image *ret_image, struct error *error);
/* Takes the blob's members; a digest that is there already is kept once. */
void packed_image_add_blob(struct packed_image *image, struct packed_blob *blob);
/* Takes the text of a manifest whose blobs are there, and whose subject is in the image. */
void packed_image_add_referrer(struct packed_image *image, const char *media_type, char *text,
                               size_t length);
/* The index over the image's manifests, in their order. */
void packed_image_add_index(struct packed_image *image);
/* What names the image as a whole: the index, or its only manifest. */
const struct packed_manifest *packed_image_top(const struct packed_image *image);
void packed_image_release(struct packed_image *image);
