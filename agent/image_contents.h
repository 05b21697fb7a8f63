/* What the tar archives of images turned out to hold: which bytes are the kernel, the initrd, the
 * disks. Only unpacking tells, so it is kept: in memory, and as a record in the folder of the
 * image's chain, which goes with it.
 *
 * Proves nothing by itself: whoever boots by it has the host half hash each part by the digest that
 * stands here. What is not well formed, or was found in other archives, is not there. Loop thread
 * only. */
#pragma once

#include <stdbool.h>

#include "image-format/chain.h"

struct image_contents;

/* `reads_records`: what an earlier start wrote counts. */
struct image_contents *image_contents_create(bool reads_records);
void image_contents_destroy(struct image_contents *contents);
/* Keeps what came out of an image's archives. `parts`: as image_unpack_result has them, one for
 * each of the image's. The chain's metadata is what they were found with. A record that cannot be
 * written is said in the log: the next start unpacks again. */
void image_contents_keep(struct image_contents *contents, const char *folder,
                         const struct image_verified *image, const char *metadata,
                         size_t metadata_length, const struct image_part *parts);
/* Fills in the parts that are not known yet; whether all are. The chain's metadata has to be what
 * the archives held, for nothing else proves it. */
bool image_contents_recall(struct image_contents *contents, const char *folder,
                           const struct image_chain *chain, struct image_verified *verified);
