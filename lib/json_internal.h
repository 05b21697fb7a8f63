/* What json.c and json_decode.c share. */
#pragma once

#include "lib/json.h"

#define JSON_QUANTITY_MAX 64
/* The text of a JSON_DURATION's or JSON_SIZE's value. */
void json_format_quantity(enum json_kind kind, uint64_t value, char ret_text[JSON_QUANTITY_MAX]);
