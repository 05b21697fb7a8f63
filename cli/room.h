/* Why an instance cannot be placed, for people: what it asks, what each node has free. */
#pragma once

#include "cli/cli.h"
#include "lib/buffer.h"

/* Appends sentences; a scheduler that does not answer leaves the text shorter. */
void room_describe(struct cli *cli, const char *namespace_name, const char *service,
                   struct buffer *text);
