#include "registry/byte_range.h"

#include <string.h>

#include "lib/text.h"

#define OFFSET_MAX ((uint64_t)INT64_MAX)

/* "<digits>-<digits>", either side may be empty: then its `has` is false. */
static bool parse_pair(const char *text, uint64_t *ret_first, bool *ret_has_first,
                       uint64_t *ret_last, bool *ret_has_last)
{
    char copy[48];
    if (!text_copy(copy, sizeof copy, text))
        return false;
    char *last = strchr(copy, '-');
    if (last == NULL)
        return false;
    *last++ = '\0';
    *ret_has_first = copy[0] != '\0';
    *ret_has_last = last[0] != '\0';
    return (!*ret_has_first || text_parse_u64(copy, OFFSET_MAX, ret_first)) &&
           (!*ret_has_last || text_parse_u64(last, OFFSET_MAX, ret_last));
}

enum byte_range byte_range_parse(const char *header, uint64_t size, uint64_t *ret_offset,
                                 uint64_t *ret_length)
{
    uint64_t first = 0, last = 0;
    bool has_first, has_last;
    if (header == NULL || strncmp(header, "bytes=", 6) != 0 ||
        !parse_pair(header + 6, &first, &has_first, &last, &has_last))
        return BYTE_RANGE_WHOLE;
    if (!has_first) { /* the last so many */
        if (!has_last)
            return BYTE_RANGE_WHOLE;
        if (last == 0 || size == 0)
            return BYTE_RANGE_UNSATISFIABLE;
        *ret_length = last < size ? last : size;
        *ret_offset = size - *ret_length;
        return BYTE_RANGE_PART;
    }
    if (first >= size || (has_last && last < first))
        return BYTE_RANGE_UNSATISFIABLE;
    if (!has_last || last >= size)
        last = size - 1;
    *ret_offset = first;
    *ret_length = last - first + 1;
    return BYTE_RANGE_PART;
}

bool byte_range_parse_chunk(const char *header, uint64_t *ret_start, uint64_t *ret_end)
{
    uint64_t first = 0, last = 0;
    bool has_first, has_last;
    if (strncmp(header, "bytes ", 6) == 0)
        header += 6;
    if (!parse_pair(header, &first, &has_first, &last, &has_last) || !has_first || !has_last ||
        last < first)
        return false;
    *ret_start = first;
    *ret_end = last + 1;
    return true;
}
