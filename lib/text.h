/* Small text forms that users write: names, durations, sizes, numbers, hex. Pure functions. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* [a-z0-9]([a-z0-9-]{0,61}[a-z0-9])? : services, namespaces, nodes, ports, keys. */
bool text_is_name(const char *text);
/* Decimal digits only, no sign, no more than `max`. */
bool text_parse_u64(const char *text, uint64_t max, uint64_t *ret_value);
/* "500ms", "1s", "2m", "1h", "30d" or a chain of them ("1m30s"), at most a year; in milliseconds.
 */
bool text_parse_duration(const char *text, uint64_t *ret_ms);
/* The shortest form that text_parse_duration reads back ("90000" -> "1m30s", 0 -> "0s"). */
#define TEXT_DURATION_MAX 48
void text_format_duration(uint64_t ms, char *ret_text, size_t size);
/* "32Mi", "1Gi", "512Ki", "4096" (bytes), at most 1 PiB; in bytes. */
bool text_parse_size(const char *text, uint64_t *ret_bytes);
#define TEXT_SIZE_MAX 24
void text_format_size(uint64_t bytes, char *ret_text, size_t size);
/* For tables: "3s", "12m", "5h", "3d". */
void text_format_age(uint64_t ms, char *ret_text, size_t size);
/* Lower-case hex of `length` bytes; `ret_text` has room for 2 * length + 1. */
void text_format_hex(const void *bytes, size_t length, char *ret_text);
/* Exactly `length` bytes from 2 * length hex digits and nothing behind them. */
bool text_parse_hex(const char *text, void *ret_bytes, size_t length);
/* The bytes of the character at `text` when it is well-formed UTF-8 and no control character, else
 * 0. Overlong forms, surrogates and what XML cannot carry are not well-formed here. */
size_t text_character_length(const char *text);
/* Puts '?' for every byte that is not part of such a character, line ends and tabs apart: what came
 * from outside, or was cut in the middle of a character, can then be shown and sent. */
void text_make_printable(char *text);
/* The same for line ends and tabs too: a value that is quoted must not look like a line of ours. */
void text_make_line(char *text);
/* Whether a path has a part ".." that would lead out of where it begins. */
bool text_path_climbs(const char *path);
/* Copies with a NUL; false (and nothing written) when it does not fit. */
bool text_copy(char *ret_text, size_t size, const char *text);
