/* The newest lines of several logs that were put together. Pure; one thread. */
#pragma once

#include <stdint.h>

#include "lib/buffer.h"

/* Keeps of whole lines with instances (lib/api/log_line.h) the last `count`. Failures are kept and
 * not counted. Of each instance whose lines or positions are left out, a position goes first, so
 * that who reads on from what is kept is not sent them later. */
void log_tail_keep(struct buffer *lines, uint64_t count);
