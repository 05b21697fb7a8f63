/* What the host half is asked to boot, from an assignment and a verified image. Pure. */
#pragma once

#include "agent/host_protocol.h"
#include "image-format/chain.h"

/* The service's memory and processors, else the image's; its arguments and environment behind the
 * image's command line. ERROR_INVALID when image and service do not fit each other. */
int instance_boot_fill(const struct api_assigned_instance *assigned,
                       const struct image_verified *verified, const char *node,
                       struct host_boot *ret_boot, struct error *error);
/* How the guest is asked to end: as its image says, else as its family listens. */
enum host_stop_method instance_boot_stop_method(const struct image_config *config);
