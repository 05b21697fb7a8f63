/* Ranges in HTTP headers, from text that anyone may send. Pure functions. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum byte_range {
    BYTE_RANGE_WHOLE,         /* none asked, or none that is understood: serve the whole */
    BYTE_RANGE_PART,          /* serve ret_offset and ret_length */
    BYTE_RANGE_UNSATISFIABLE, /* nothing of it is there, or it ends before it begins: 416 */
};

/* A request's Range header (RFC 9110, 14.2), one range of bytes, for a body of `size` bytes. */
enum byte_range byte_range_parse(const char *header, uint64_t size, uint64_t *ret_offset,
                                 uint64_t *ret_length);
/* The Content-Range of an upload's chunk, "<first>-<last>" in the distribution spec; "bytes " in
 * front is tolerated. `ret_end` is one behind the last. */
bool byte_range_parse_chunk(const char *header, uint64_t *ret_start, uint64_t *ret_end);
