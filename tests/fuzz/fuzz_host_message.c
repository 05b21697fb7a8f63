/* What one half of an agent may send to the other: a good message with some bytes changed is
 * refused with the field's name, or every text in it ends and every name is one.
 *
 * The first byte chooses the message; then come changes of three bytes: where, twice, and what. */
#include <ctype.h>

#include "agent/host_protocol.h"
#include "lib/text.h"
#include "tests/fuzz/fuzz.h"

#define DIGEST "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void fill_boot(struct host_boot *boot)
{
    *boot = (struct host_boot){
        .id = "0001000003f2",
        .family = "linux",
        .arch = "amd64",
        .protocol = BOOT_LINUX,
        .machine = MACHINE_PC,
        .kernel = DIGEST,
        .initrd = DIGEST,
        .disks = {DIGEST, DIGEST},
        .disk_count = 2,
        .image = DIGEST,
        .command_line = "--greeting ahoy",
        .mac = "52:01:00:00:03:f2",
        .address = "10.64.0.2",
        .memory = 16 << 20,
        .vcpus = 1,
        .namespace_name = "default",
        .service = "counter",
        .slot = 3,
        .volumes = {{"data", "data", 16 << 20}, {"log", "log", 1 << 20}},
        .volume_count = 2,
    };
}

static struct host_message make(uint8_t choice)
{
    struct host_message message = {.type = choice};
    switch ((enum host_message_type)choice) {
    case HOST_NETWORK:
        strcpy(message.network.subnet, "10.64.0.0/24");
        break;
    case HOST_IMPORT:
        message.import = (struct host_import){.digest = DIGEST, .size = 7};
        break;
    case HOST_BOOT:
        fill_boot(&message.boot);
        break;
    case HOST_STOP:
        message.stop = (struct host_stop){.id = "0001000003f2", .method = HOST_STOP_ACPI};
        break;
    case HOST_FORGET:
        strcpy(message.forget.id, "0001000003f2");
        break;
    case HOST_CONSOLE:
        strcpy(message.console.id, "0001000003f2");
        break;
    case HOST_DEBUG:
        message.debug = (struct host_debug){.id = "0001000003f2", .open = 1};
        break;
    case HOST_PROXY_FRONTEND:
        message.proxy_frontend = (struct host_proxy_frontend){
            .name = "default.hello", .publish = 80, .mode = API_PORT_HTTP};
        break;
    case HOST_PROXY_SERVER:
        message.proxy_server = (struct host_proxy_server){
            .id = "0001000003f2", .address = "10.64.0.2", .port = 80, .weight = 1};
        break;
    case HOST_VOLUME:
        message.volume = (struct host_volume_request){.operation = HOST_VOLUME_SNAPSHOT,
                                                      .key = {"default", "counter", 3, "data"},
                                                      .snapshot = "before"};
        break;
    case HOST_USAGE:
        message.usage.count = HOST_USAGE_ENTRIES;
        for (size_t i = 0; i < HOST_USAGE_ENTRIES; i++)
            strcpy(message.usage.entries[i].id, "0001000003f2");
        break;
    case HOST_DROP:
        strcpy(message.drop.digest, DIGEST);
        break;
    case HOST_IMAGES:
        message.images.count = HOST_IMAGES_ENTRIES;
        for (size_t i = 0; i < HOST_IMAGES_ENTRIES; i++)
            message.images.entries[i] =
                (struct host_image){.digest = DIGEST, .size = 7, .age_ms = 5};
        break;
    case HOST_NODE:
        message.node.processors = 2;
        break;
    case HOST_BOOT_STEPS:
        strcpy(message.boot_steps.id, "0001000003f2");
        break;
    default:
        break;
    }
    return message;
}

static bool ends(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}
#define ENDS(field) ends(field, sizeof(field))

static void expect_name(const char *text, size_t size)
{
    EXPECT(ends(text, size) && text_is_name(text));
}

static void expect_boot(const struct host_boot *boot)
{
    EXPECT(ENDS(boot->id) && ENDS(boot->family) && ENDS(boot->arch) && ENDS(boot->kernel) &&
           ENDS(boot->initrd) && ENDS(boot->image) && ENDS(boot->command_line) && ENDS(boot->mac) &&
           ENDS(boot->address));
    for (const char *at = boot->command_line; *at != '\0'; at++)
        EXPECT(!iscntrl((unsigned char)*at));
    EXPECT(boot->disk_count <= HOST_DISKS_MAX && boot->volume_count <= HOST_VOLUMES_MAX);
    for (uint32_t i = 0; i < boot->volume_count; i++) {
        expect_name(boot->namespace_name, sizeof boot->namespace_name);
        expect_name(boot->service, sizeof boot->service);
        expect_name(boot->volumes[i].name, sizeof boot->volumes[i].name);
        expect_name(boot->volumes[i].device, sizeof boot->volumes[i].device);
    }
}

static void expect_whole(const struct host_message *message)
{
    const struct host_volume_request *volume = &message->volume;
    if (message->type == HOST_BOOT)
        expect_boot(&message->boot);
    if (message->type == HOST_VOLUME) {
        expect_name(volume->key.namespace_name, sizeof volume->key.namespace_name);
        expect_name(volume->key.service, sizeof volume->key.service);
        expect_name(volume->key.name, sizeof volume->key.name);
        EXPECT(ENDS(volume->snapshot) && strchr(volume->snapshot, '/') == NULL);
        EXPECT(volume->snapshot[0] != '\0' || volume->operation == HOST_VOLUME_REMOVE);
    }
    if (message->type == HOST_USAGE) {
        EXPECT(message->usage.count <= HOST_USAGE_ENTRIES);
        for (uint32_t i = 0; i < message->usage.count; i++)
            EXPECT(ENDS(message->usage.entries[i].id));
    }
    if (message->type == HOST_BOOT_STEPS)
        EXPECT(ENDS(message->boot_steps.id));
    if (message->type == HOST_DROP)
        EXPECT(ENDS(message->drop.digest) && digest_is_valid(message->drop.digest));
    if (message->type == HOST_IMAGES) {
        EXPECT(message->images.count <= HOST_IMAGES_ENTRIES);
        for (uint32_t i = 0; i < message->images.count; i++)
            EXPECT(ENDS(message->images.entries[i].digest) &&
                   digest_is_valid(message->images.entries[i].digest));
    }
    if (message->type == HOST_NODE)
        EXPECT(message->node.processors > 0 && message->node.processors <= HOST_PROCESSORS_MAX);
    if (message->type == HOST_CONSOLE)
        EXPECT(ENDS(message->console.id) && strchr(message->console.id, '/') == NULL);
    if (message->type == HOST_DEBUG)
        EXPECT(ENDS(message->debug.id) && strchr(message->debug.id, '/') == NULL &&
               message->debug.open <= 1);
    if (message->type == HOST_STOP)
        EXPECT(ENDS(message->stop.id));
    if (message->type == HOST_PROXY_FRONTEND)
        EXPECT(ENDS(message->proxy_frontend.name));
    if (message->type == HOST_PROXY_SERVER)
        EXPECT(ENDS(message->proxy_server.id) && ENDS(message->proxy_server.address));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct error error = ERROR_INIT;
    if (length == 0)
        return 0;
    struct host_message message = make(bytes[0]);
    for (size_t at = 1; at + 3 <= length; at += 3) {
        size_t where = (size_t)(bytes[at] << 8 | bytes[at + 1]);
        ((uint8_t *)&message)[where % sizeof message] = bytes[at + 2];
    }
    if (host_message_check(&message, &error) < 0)
        EXPECT(error.message[0] != '\0' && error.code != ERROR_INTERNAL);
    else
        expect_whole(&message);
    return 0;
}
