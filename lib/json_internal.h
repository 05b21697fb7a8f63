/* What the files of lib/json share. */
#pragma once

#include "lib/buffer.h"
#include "lib/json.h"

#define JSON_QUANTITY_MAX 64
/* The text of a JSON_DURATION's or JSON_SIZE's value. */
void json_format_quantity(enum json_kind kind, uint64_t value, char ret_text[JSON_QUANTITY_MAX]);
/* A member of a JSON_UINT. */
uint64_t json_load_uint(const char *member, size_t size);
void json_store_uint(char *member, size_t size, uint64_t number);
/* The most that a JSON_UINT's member may be. */
uint64_t json_upper_bound(const struct json_field *field);
/* Whether the encoder leaves the field of the struct at `base` out. */
bool json_field_is_absent(const struct json_field *field, const char *base);
/* A copy with '?' for what is not part of a whole character. */
char *json_whole_characters(const char *text);

/* Decodes what is as plain as our own encoder writes it, without a tree in between. False: nothing
 * was done, and the long way tells what is there and what is wrong with it. */
bool json_read_record(const struct json_record *record, const char *text, size_t length,
                      void *ret_struct);
