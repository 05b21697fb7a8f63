#include "http_message.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define METHOD_LIMIT 32

static bool is_token_character(char c)
{
    return isalnum((unsigned char)c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool equals_ignoring_case(const char *text, size_t length, const char *word)
{
    for (size_t i = 0; i < length; i++) {
        if (word[i] == '\0' || tolower((unsigned char)text[i]) != word[i]) {
            return false;
        }
    }
    return word[length] == '\0';
}

/* True when the comma-separated list holds the word. */
static bool list_contains(const char *text, size_t length, const char *word)
{
    while (length > 0) {
        const char *comma = memchr(text, ',', length);
        size_t part = comma != NULL ? (size_t)(comma - text) : length;
        size_t begin = 0, end = part;
        while (begin < end && (text[begin] == ' ' || text[begin] == '\t')) {
            begin++;
        }
        while (end > begin && (text[end - 1] == ' ' || text[end - 1] == '\t')) {
            end--;
        }
        if (equals_ignoring_case(text + begin, end - begin, word)) {
            return true;
        }
        part += comma != NULL ? 1 : 0;
        text += part;
        length -= part;
    }
    return false;
}

size_t http_head_find_end(const char *data, size_t length)
{
    for (size_t i = 3; i < length; i++) {
        if (data[i] == '\n' && data[i - 1] == '\r' && data[i - 2] == '\n' && data[i - 3] == '\r') {
            return i + 1;
        }
    }
    return 0;
}

/* "METHOD target HTTP/1.x", without the line's end; ends the parts in place. */
static unsigned parse_request_line(struct http_head *head, char *line, size_t length)
{
    char *end = line + length;
    char *space = memchr(line, ' ', length);
    if (space == NULL || space == line || space - line > METHOD_LIMIT) {
        return 400;
    }
    for (char *c = line; c < space; c++) {
        if (!is_token_character(*c)) {
            return 400;
        }
    }
    *space = '\0';
    head->method = line;
    char *target = space + 1;
    space = memchr(target, ' ', (size_t)(end - target));
    if (space == NULL || space == target) {
        return 400;
    }
    for (char *c = target; c < space; c++) {
        if (*c <= ' ' || *c == 0x7f) {
            return 400; /* bytes above 127 count as negative: refused as well */
        }
    }
    *space = '\0';
    const char *version = space + 1;
    if (end - version != 8 || strncmp(version, "HTTP/", 5) != 0 || !isdigit(version[5]) ||
        version[6] != '.' || !isdigit(version[7])) {
        return 400;
    }
    if (version[5] != '1') {
        return 505;
    }
    head->minor_zero = version[7] == '0';
    head->path = target;
    return 0;
}

/* Origin form, or absolute form as a proxy sends it, of which the host is dropped. */
static unsigned split_target(struct http_head *head)
{
    char *target = (char *)(uintptr_t)head->path;
    if (strncmp(target, "http://", 7) == 0) {
        char *slash = strchr(target + 7, '/');
        target = slash != NULL ? slash : target + strlen(target);
        head->path = slash != NULL ? slash : "/";
    } else if (*target != '/' && !(strcmp(target, "*") == 0)) {
        return 400;
    }
    char *question = strchr(target, '?');
    head->query = "";
    if (question != NULL) {
        *question = '\0';
        head->query = question + 1;
    }
    return 0;
}

static unsigned parse_length(struct http_head *head, const char *value, size_t length)
{
    uint64_t number = 0;
    if (length == 0 || length > 18) {
        return 400;
    }
    for (size_t i = 0; i < length; i++) {
        if (!isdigit((unsigned char)value[i])) {
            return 400;
        }
        number = number * 10 + (uint64_t)(value[i] - '0');
    }
    if (head->has_length && head->body_length != number) {
        return 400;
    }
    head->has_length = true;
    head->body_length = number;
    return 0;
}

static unsigned parse_header(struct http_head *head, const char *line, size_t length)
{
    const char *colon = memchr(line, ':', length);
    if (colon == NULL || colon == line) {
        return 400;
    }
    size_t name = (size_t)(colon - line);
    for (size_t i = 0; i < name; i++) {
        if (!is_token_character(line[i])) {
            return 400; /* a folded line as well: it begins with a space */
        }
    }
    const char *value = colon + 1, *end = line + length;
    while (value < end && (*value == ' ' || *value == '\t')) {
        value++;
    }
    while (end > value && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    size_t size = (size_t)(end - value);
    if (memchr(value, '\0', size) != NULL || memchr(value, '\r', size) != NULL ||
        memchr(value, '\n', size) != NULL) {
        return 400;
    }
    if (equals_ignoring_case(line, name, "host")) {
        head->host_count++;
    } else if (equals_ignoring_case(line, name, "content-length")) {
        return parse_length(head, value, size);
    } else if (equals_ignoring_case(line, name, "transfer-encoding")) {
        head->chunked = true;
    } else if (equals_ignoring_case(line, name, "expect")) {
        head->expects_continue = true;
    } else if (equals_ignoring_case(line, name, "connection")) {
        if (list_contains(value, size, "close")) {
            head->keep_alive = false;
        } else if (head->minor_zero && list_contains(value, size, "keep-alive")) {
            head->keep_alive = true;
        }
    }
    return 0;
}

/* The length of the line at `data`, its end not included. The head is known to be complete. */
static size_t line_length(const char *data, const char *end)
{
    const char *c = data;
    while (c + 1 < end && !(c[0] == '\r' && c[1] == '\n')) {
        c++;
    }
    return (size_t)(c - data);
}

unsigned http_head_parse(struct http_head *head, char *data, size_t length)
{
    char *end = data + length;
    memset(head, 0, sizeof(*head));
    size_t size = line_length(data, end);
    unsigned status = parse_request_line(head, data, size);
    if (status != 0) {
        return status;
    }
    head->keep_alive = !head->minor_zero;
    for (data += size + 2; data < end; data += size + 2) {
        size = line_length(data, end);
        if (size == 0) {
            break;
        }
        status = parse_header(head, data, size);
        if (status != 0) {
            return status;
        }
    }
    if (head->host_count > 1 || (head->host_count == 0 && !head->minor_zero) ||
        (head->chunked && head->has_length)) {
        return 400;
    }
    return head->chunked ? 501 : split_target(head);
}

const char *http_status_name(unsigned status)
{
    static const struct {
        unsigned status;
        const char *name;
    } names[] = {
        {200, "OK"},
        {204, "No Content"},
        {400, "Bad Request"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {417, "Expectation Failed"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (names[i].status == status) {
            return names[i].name;
        }
    }
    return "Unknown";
}

size_t http_head_format(char *text, size_t size, unsigned status, const char *content_type,
                        size_t body_length, const char *connection, const char *allow)
{
    bool refuses = status == 405;
    int length = snprintf(
        text, size, "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s%s%s%s%s%s\r\n",
        status, http_status_name(status), content_type, body_length, refuses ? "Allow: " : "",
        refuses ? allow : "", refuses ? "\r\n" : "", connection != NULL ? "Connection: " : "",
        connection != NULL ? connection : "", connection != NULL ? "\r\n" : "");
    return (size_t)length < size ? (size_t)length : size - 1;
}
