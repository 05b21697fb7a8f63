/* The addresses of several daemons that answer alike, as people write them: "URL[,URL...]", and
 * which of them is asked now. A struct belongs to one thread; knows no HTTP. */
#pragma once

#include <stddef.h>

#include "lib/error.h"

#define ADDRESS_TEXT_MAX   256 /* one, with NUL */
#define ADDRESSES_MAX      8
#define ADDRESSES_TEXT_MAX (ADDRESSES_MAX * ADDRESS_TEXT_MAX) /* all as one text, with NUL */

struct addresses {
    char urls[ADDRESSES_MAX][ADDRESS_TEXT_MAX]; /* "http://127.0.0.1:7000", each once */
    size_t count;
    size_t current;
};

/* "host:port" or a URL to a URL without a slash at its end. `what` names it in an error. */
int address_normalize(const char *text, const char *what, char ret_address[ADDRESS_TEXT_MAX],
                      struct error *error);
/* One address or several with commas between them; the first is asked first. */
int addresses_parse(const char *text, const char *what, struct addresses *ret_addresses,
                    struct error *error);
/* All of them, with commas between. */
void addresses_format(const struct addresses *addresses, char ret_text[ADDRESSES_TEXT_MAX]);
const char *addresses_current(const struct addresses *addresses);
/* The next one is asked from now on; behind the last comes the first. */
void addresses_move(struct addresses *addresses);
