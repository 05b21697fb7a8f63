/* Tells the deciding half which image files are here: some in a message, so that a folder of any
 * size fits into the channel's queue. Loop thread. */
#pragma once

#include "agent/host/channel.h"
#include "agent/host/image_store.h"

/* More than the images that are kept can have (image_cache.h). Of a fuller folder the rest is told
 * of by a later start, when some have been dropped. */
#define IMAGE_REPORT_MAX 16384

void image_report_send(struct image_store *images, struct channel *channel);
