/* image inspect FILE: what a kernel or a disk is. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/format.h"
#include "cli/inspect.h"
#include "cli/table.h"
#include "image-format/family.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

bool inspect_is_path(const char *word)
{
    struct stat status;
    return word[0] == '/' || strncmp(word, "./", 2) == 0 || strncmp(word, "../", 3) == 0 ||
           (stat(word, &status) == 0 && !S_ISDIR(status.st_mode));
}

void inspect_print(const char *title, const char *format, ...)
{
    struct buffer AUTO_BUFFER safe = {0};
    va_list arguments;
    va_start(arguments, format);
    AUTO_FREE char *text = xvasprintf(format, arguments);
    va_end(arguments);
    text_append_safe(&safe, text);
    printf("%-13s %s\n", title, buffer_text(&safe));
}

static void print_verdict(const struct detection *detection)
{
    static const char *const meanings[] = {
        [DETECTION_CERTAIN] = "its build left a mark",
        [DETECTION_GENERIC] = "it boots by a known protocol; whose it is does not show",
    };
    const char *name = detection_verdict_names[detection->verdict];
    inspect_print("Verdict", "%s: %s", name,
                  detection->reason != NULL ? detection->reason : meanings[detection->verdict]);
    if (detection->family[0] != '\0')
        inspect_print("Family", "%s (%s)", detection->family, detection->title);
}

static void print_boot(const struct detection *detection)
{
    struct buffer AUTO_BUFFER text = {0};
    for (size_t i = 0; i < detection->protocols.count; i++)
        buffer_printf(&text, "%s%s", i > 0 ? ", " : "", detection->protocols.items[i]);
    if (detection->machine[0] != '\0')
        buffer_printf(&text, " on machine %s", detection->machine);
    if (detection->architecture[0] != '\0')
        inspect_print("Architecture", "%s", detection->architecture);
    if (text.length > 0)
        inspect_print("Boots by", "%s", buffer_text(&text));
}

void inspect_print_findings(const struct detection *detection)
{
    char size[FORMAT_MAX];
    if (detection->format[0] != '\0')
        inspect_print("Format", "%s", detection->format);
    for (size_t i = 0; i < detection->device_count; i++)
        inspect_print(i == 0 ? "Devices" : "", "%s (%s)", detection->devices[i].name,
                      detection_device_kind_names[detection->devices[i].kind]);
    if (detection->has_disk && detection->disk.size > 0) {
        format_bytes(detection->disk.size, size);
        inspect_print("Disk", "%s for its guest", size);
    }
    if (detection->disk.command_line != NULL)
        inspect_print("Command line", "%s", detection->disk.command_line);
    for (size_t i = 0; i < detection->evidence.count; i++)
        inspect_print(i == 0 ? "Seen" : "", "%s", detection->evidence.items[i]);
}

/* The file first, then what was found. */
static struct json_object *file_document(const char *path, uint64_t size,
                                         const struct detection *detection)
{
    struct json_object *document = json_object_new_object();
    AUTO_JSON struct json_object *found = json_encode(&detection_record, detection);
    json_object_object_add(document, "file", json_object_new_string(path));
    json_object_object_add(document, "size", json_object_new_int64((int64_t)size));
    json_object_object_foreach (found, key, value)
        json_object_object_add(document, key, json_object_get(value));
    return document;
}

int inspect_file(struct cli *cli, const char *path, struct error *error)
{
    struct detection detection;
    struct stat status;
    char size[FORMAT_MAX];
    /* A pipe that nobody writes must not hold us up. */
    AUTO_CLOSE int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0 || fstat(descriptor, &status) < 0)
        return error_set_errno(error, errno, "%s", path);
    if (detect_file(descriptor, &detection, error) < 0)
        return error_wrap(error, "%s", path);
    if (cli_wants_document(cli)) {
        cli_print_document(cli, file_document(path, (uint64_t)status.st_size, &detection));
    } else {
        format_bytes((uint64_t)status.st_size, size);
        inspect_print("File", "%s (%s)", path, size);
        print_verdict(&detection);
        print_boot(&detection);
        inspect_print_findings(&detection);
    }
    detection_release(&detection);
    return 0;
}
