#include "agent/host_protocol.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "lib/cleanup.h"
#include "lib/text.h"

static bool is_terminated(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

/* A text for people or for a command line: it ends and holds no control characters. */
static bool is_printable(const char *text, size_t size)
{
    if (!is_terminated(text, size))
        return false;
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (*at < 0x20 || *at == 0x7f)
            return false;
    }
    return true;
}

/* The same for what goes to a guest and into XML: no broken UTF-8 either. */
static bool is_line(const char *text, size_t size)
{
    if (!is_terminated(text, size))
        return false;
    for (const char *at = text; *at != '\0';) {
        size_t length = text_character_length(at);
        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

static bool is_architecture(const char *text, size_t size)
{
    return is_terminated(text, size) && (strcmp(text, "amd64") == 0 || strcmp(text, "arm64") == 0);
}

static bool is_instance_id(const char id[INSTANCE_ID_MAX])
{
    return is_terminated(id, INSTANCE_ID_MAX) && strlen(id) == INSTANCE_ID_MAX - 1 &&
           strspn(id, "0123456789abcdef") == INSTANCE_ID_MAX - 1;
}

static bool is_digest(const char digest[DIGEST_TEXT_MAX])
{
    return is_terminated(digest, DIGEST_TEXT_MAX) && digest_is_valid(digest);
}

static bool is_address(const char address[ADDRESS_MAX])
{
    struct in_addr parsed;
    char again[ADDRESS_MAX];
    return is_terminated(address, ADDRESS_MAX) && inet_pton(AF_INET, address, &parsed) == 1 &&
           inet_ntop(AF_INET, &parsed, again, sizeof again) != NULL && strcmp(again, address) == 0;
}

static bool is_subnet(const char *subnet, size_t size)
{
    if (!is_terminated(subnet, size))
        return false;
    const char *slash = strchr(subnet, '/');
    if (slash == NULL || (size_t)(slash - subnet) >= ADDRESS_MAX)
        return false;
    char address[ADDRESS_MAX] = "";
    memcpy(address, subnet, (size_t)(slash - subnet));
    uint64_t prefix;
    struct in_addr parsed;
    if (!is_address(address) || !text_parse_u64(slash + 1, 30, &prefix) || prefix < 8)
        return false;
    inet_pton(AF_INET, address, &parsed);
    return (ntohl(parsed.s_addr) & (UINT32_MAX >> prefix)) == 0;
}

/* <namespace>.<service> */
static bool is_frontend_name(const char *name, size_t size)
{
    if (!is_terminated(name, size))
        return false;
    const char *dot = strchr(name, '.');
    if (dot == NULL || (size_t)(dot - name) >= NAME_MAX_TEXT)
        return false;
    char first[NAME_MAX_TEXT] = "";
    memcpy(first, name, (size_t)(dot - name));
    return text_is_name(first) && text_is_name(dot + 1);
}

static bool is_port(uint32_t port)
{
    return port >= 1 && port <= UINT16_MAX;
}

static int refuse(struct error *error, const char *message, const char *field)
{
    return error_set(error, ERROR_INVALID, "message %s: its %s is not well formed", message, field);
}

static int check_import(const struct host_import *import, struct error *error)
{
    if (!is_digest(import->digest))
        return refuse(error, "import", "digest");
    if (import->size == 0 || import->size > (uint64_t)1 << 40)
        return refuse(error, "import", "size");
    return 0;
}

/* How it boots, and from what. */
static int check_boot_parts(const struct host_boot *boot, struct error *error)
{
    bool boots_disk = boot->protocol == BOOT_DISK;
    if (!is_terminated(boot->family, sizeof boot->family) || !text_is_name(boot->family))
        return refuse(error, "boot", "family");
    if (!is_architecture(boot->arch, sizeof boot->arch))
        return refuse(error, "boot", "architecture");
    if (boot->protocol > BOOT_XEN)
        return refuse(error, "boot", "protocol");
    if (boot->machine > MACHINE_XENPVH)
        return refuse(error, "boot", "machine");
    if (boots_disk ? boot->kernel[0] != '\0' : !is_digest(boot->kernel))
        return refuse(error, "boot", "kernel digest");
    if (boot->initrd[0] != '\0' && (boots_disk || !is_digest(boot->initrd)))
        return refuse(error, "boot", "initrd digest");
    if (boot->disk_count > HOST_DISKS_MAX || (boots_disk && boot->disk_count == 0))
        return refuse(error, "boot", "number of disks");
    for (uint32_t i = 0; i < boot->disk_count; i++) {
        if (!is_digest(boot->disks[i]))
            return refuse(error, "boot", "disk digest");
    }
    return 0;
}

bool host_volume_key_is_valid(const struct host_volume_key *key)
{
    return is_terminated(key->namespace_name, sizeof key->namespace_name) &&
           text_is_name(key->namespace_name) && is_terminated(key->service, sizeof key->service) &&
           text_is_name(key->service) && is_terminated(key->name, sizeof key->name) &&
           text_is_name(key->name) && key->slot <= HOST_SLOT_MAX;
}

static int check_volume(const struct host_volume_request *request, struct error *error)
{
    bool removes = request->operation == HOST_VOLUME_REMOVE;
    if (request->operation > HOST_VOLUME_REMOVE)
        return refuse(error, "volume", "operation");
    if (!host_volume_key_is_valid(&request->key))
        return refuse(error, "volume", "name");
    if (!is_terminated(request->snapshot, sizeof request->snapshot) ||
        !(text_is_name(request->snapshot) || (removes && request->snapshot[0] == '\0')))
        return refuse(error, "volume", "snapshot");
    return 0;
}

/* Each once, by name and by device. */
static int check_boot_volumes(const struct host_boot *boot, struct error *error)
{
    struct host_volume_key key = {.slot = boot->slot};
    if (boot->volume_count > HOST_VOLUMES_MAX)
        return refuse(error, "boot", "number of volumes");
    memcpy(key.namespace_name, boot->namespace_name, sizeof key.namespace_name);
    memcpy(key.service, boot->service, sizeof key.service);
    for (uint32_t i = 0; i < boot->volume_count; i++) {
        const struct host_volume *volume = &boot->volumes[i];
        memcpy(key.name, volume->name, sizeof key.name);
        if (!host_volume_key_is_valid(&key))
            return refuse(error, "boot", "volume");
        if (!is_terminated(volume->device, sizeof volume->device) || !text_is_name(volume->device))
            return refuse(error, "boot", "volume's device");
        if (volume->size < (uint64_t)1 << 20 || volume->size > (uint64_t)1 << 40)
            return refuse(error, "boot", "volume's size");
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(boot->volumes[j].name, volume->name) == 0 ||
                strcmp(boot->volumes[j].device, volume->device) == 0)
                return refuse(error, "boot", "list of volumes");
        }
    }
    return 0;
}

static int check_boot(const struct host_boot *boot, struct error *error)
{
    char mac[18];
    if (!is_instance_id(boot->id))
        return refuse(error, "boot", "id");
    host_mac_of_instance(boot->id, mac);
    if (check_boot_parts(boot, error) < 0)
        return -1;
    if (!is_digest(boot->image))
        return refuse(error, "boot", "image digest");
    if (!is_line(boot->command_line, sizeof boot->command_line))
        return refuse(error, "boot", "command line");
    if (!is_terminated(boot->mac, sizeof boot->mac) || strcmp(boot->mac, mac) != 0)
        return refuse(error, "boot", "MAC");
    if (!is_address(boot->address))
        return refuse(error, "boot", "address");
    if (boot->memory < (uint64_t)1 << 20 || boot->memory > (uint64_t)1 << 44)
        return refuse(error, "boot", "memory");
    if (boot->vcpus < 1 || boot->vcpus > 255)
        return refuse(error, "boot", "number of vcpus");
    return check_boot_volumes(boot, error);
}

static int check_stop(const struct host_stop *stop, struct error *error)
{
    if (!is_instance_id(stop->id))
        return refuse(error, "stop", "id");
    if (stop->method > HOST_STOP_ACPI)
        return refuse(error, "stop", "method");
    if (stop->grace_ms > 3600 * 1000)
        return refuse(error, "stop", "grace (at most an hour)");
    if (!is_line(stop->reason, sizeof stop->reason))
        return refuse(error, "stop", "reason");
    return 0;
}

static int check_proxy_frontend(const struct host_proxy_frontend *frontend, struct error *error)
{
    if (!is_frontend_name(frontend->name, sizeof frontend->name))
        return refuse(error, "proxy frontend", "name");
    if (!is_port(frontend->publish))
        return refuse(error, "proxy frontend", "port");
    if (frontend->mode != API_PORT_TCP && frontend->mode != API_PORT_HTTP)
        return refuse(error, "proxy frontend", "mode");
    return 0;
}

static int check_proxy_server(const struct host_proxy_server *server, struct error *error)
{
    if (!is_instance_id(server->id))
        return refuse(error, "proxy server", "id");
    if (!is_address(server->address))
        return refuse(error, "proxy server", "address");
    if (!is_port(server->port))
        return refuse(error, "proxy server", "port");
    if (server->state != API_SERVER_READY && server->state != API_SERVER_DRAIN)
        return refuse(error, "proxy server", "state");
    if (server->weight > API_SERVER_WEIGHT_MAX)
        return refuse(error, "proxy server", "weight");
    return 0;
}

static int check_answer(const struct host_answer *answer, struct error *error)
{
    const struct host_welcome *welcome = &answer->welcome;
    if (answer->code > ERROR_FAILED)
        return refuse(error, "answer", "code");
    if (!is_printable(answer->message, sizeof answer->message))
        return refuse(error, "answer", "text");
    if (welcome->machine_count > HOST_MACHINES_MAX ||
        !is_printable(welcome->accel_reason, sizeof welcome->accel_reason))
        return refuse(error, "answer", "welcome");
    for (uint32_t i = 0; i < welcome->machine_count; i++) {
        const struct host_machine *machine = &welcome->machines[i];
        if (!is_architecture(machine->arch, sizeof machine->arch) ||
            !is_printable(machine->accel, sizeof machine->accel))
            return refuse(error, "answer", "machine");
    }
    return 0;
}

static int check_instance(const struct host_instance *instance, struct error *error)
{
    if (!is_instance_id(instance->id))
        return refuse(error, "instance", "id");
    if (instance->state > HOST_INSTANCE_HANGS)
        return refuse(error, "instance", "state");
    if (instance->cause > HOST_END_HUNG)
        return refuse(error, "instance", "cause");
    bool is_there =
        instance->state == HOST_INSTANCE_RUNNING || instance->state == HOST_INSTANCE_PAUSED;
    if (is_there && instance->kernel[0] != '\0' && !is_digest(instance->kernel))
        return refuse(error, "instance", "kernel digest");
    if (is_there && !is_digest(instance->image))
        return refuse(error, "instance", "image digest");
    if (instance->debugged > 1)
        return refuse(error, "instance", "debugger");
    if (!is_printable(instance->message, sizeof instance->message))
        return refuse(error, "instance", "text");
    return 0;
}

static int check_pause(const struct host_pause *pause, struct error *error)
{
    if (!is_instance_id(pause->id))
        return refuse(error, "pause", "id");
    return pause->paused <= 1 ? 0 : refuse(error, "pause", "state");
}

static int check_frontend(const struct host_frontend *frontend, struct error *error)
{
    if (!is_port(frontend->publish))
        return refuse(error, "frontend", "port");
    if (frontend->bound > 1)
        return refuse(error, "frontend", "state");
    if (!is_printable(frontend->message, sizeof frontend->message))
        return refuse(error, "frontend", "text");
    return 0;
}

static int check_images(const struct host_images *images, struct error *error)
{
    if (images->count > HOST_IMAGES_ENTRIES)
        return refuse(error, "images", "number of entries");
    for (uint32_t i = 0; i < images->count; i++) {
        if (!is_digest(images->entries[i].digest))
            return refuse(error, "images", "digest");
    }
    return 0;
}

static int check_usage(const struct host_usage *usage, struct error *error)
{
    if (usage->count > HOST_USAGE_ENTRIES)
        return refuse(error, "usage", "number of entries");
    for (uint32_t i = 0; i < usage->count; i++) {
        if (!is_instance_id(usage->entries[i].id))
            return refuse(error, "usage", "id");
    }
    return 0;
}

int host_message_check(const struct host_message *message, struct error *error)
{
    switch ((enum host_message_type)message->type) {
    case HOST_HELLO:
    case HOST_SOCKET:
    case HOST_VOLUMES:
    case HOST_PROXY_BEGIN:
    case HOST_PROXY_COMMIT:
        return 0;
    case HOST_NETWORK:
        if (!is_subnet(message->network.subnet, sizeof message->network.subnet))
            return refuse(error, "network", "subnet");
        return 0;
    case HOST_IMPORT:
        return check_import(&message->import, error);
    case HOST_BOOT:
        return check_boot(&message->boot, error);
    case HOST_STOP:
        return check_stop(&message->stop, error);
    case HOST_FORGET:
        return is_instance_id(message->forget.id) ? 0 : refuse(error, "forget", "id");
    case HOST_CONSOLE:
        return is_instance_id(message->console.id) ? 0 : refuse(error, "console", "id");
    case HOST_DEBUG:
        return is_instance_id(message->debug.id) && message->debug.open <= 1
                   ? 0
                   : refuse(error, "debug", "id or switch");
    case HOST_VOLUME:
        return check_volume(&message->volume, error);
    case HOST_PAUSE:
        return check_pause(&message->pause, error);
    case HOST_PROXY_FRONTEND:
        return check_proxy_frontend(&message->proxy_frontend, error);
    case HOST_PROXY_SERVER:
        return check_proxy_server(&message->proxy_server, error);
    case HOST_PROXY_COUNT:
        return is_instance_id(message->proxy_count.id) ? 0 : refuse(error, "proxy count", "id");
    case HOST_DROP:
        return is_digest(message->drop.digest) ? 0 : refuse(error, "drop", "digest");
    case HOST_IMAGES:
        return check_images(&message->images, error);
    case HOST_ANSWER:
        return check_answer(&message->answer, error);
    case HOST_INSTANCE:
        return check_instance(&message->instance, error);
    case HOST_FRONTEND:
        return check_frontend(&message->frontend, error);
    case HOST_USAGE:
        return check_usage(&message->usage, error);
    case HOST_BOOT_STEPS:
        return is_instance_id(message->boot_steps.id) ? 0 : refuse(error, "boot steps", "id");
    case HOST_NODE:
        if (message->node.processors == 0 || message->node.processors > HOST_PROCESSORS_MAX)
            return refuse(error, "node", "number of processors");
        return 0;
    }
    return error_set(error, ERROR_PROTOCOL, "message of the unknown type %u", message->type);
}

union descriptor_control {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
};

int host_message_send(int channel, const struct host_message *message, int descriptor,
                      struct error *error)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)message, .iov_len = sizeof *message};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    union descriptor_control control = {{0}};
    if (descriptor >= 0) {
        header.msg_control = control.bytes;
        header.msg_controllen = sizeof control.bytes;
        struct cmsghdr *attached = CMSG_FIRSTHDR(&header);
        attached->cmsg_level = SOL_SOCKET;
        attached->cmsg_type = SCM_RIGHTS;
        attached->cmsg_len = CMSG_LEN(sizeof descriptor);
        memcpy(CMSG_DATA(attached), &descriptor, sizeof descriptor);
    }
    for (;;) {
        ssize_t sent = sendmsg(channel, &header, MSG_NOSIGNAL);
        if (sent >= 0)
            return 0;
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            struct pollfd writable = {.fd = channel, .events = POLLOUT};
            poll(&writable, 1, -1);
        } else if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN) {
            return error_set(error, ERROR_UNAVAILABLE, "the agent's other half is gone");
        } else if (errno != EINTR) {
            return error_set_errno(error, errno, "send to the agent's other half");
        }
    }
}

/* Keeps the first descriptor that came and closes any other. */
static int take_descriptor(struct msghdr *header)
{
    int taken = -1;
    for (struct cmsghdr *at = CMSG_FIRSTHDR(header); at != NULL; at = CMSG_NXTHDR(header, at)) {
        if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int descriptor;
            memcpy(&descriptor, CMSG_DATA(at) + i * sizeof descriptor, sizeof descriptor);
            if (taken < 0)
                taken = descriptor;
            else
                close(descriptor);
        }
    }
    return taken;
}

int host_message_receive(int channel, struct host_message *ret_message, int *ret_descriptor,
                         struct error *error)
{
    struct host_message message;
    struct iovec part = {.iov_base = &message, .iov_len = sizeof message};
    union descriptor_control control = {{0}};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof control.bytes};
    ssize_t got;
    do {
        got = recvmsg(channel, &header, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got == 0 || (got < 0 && errno == ECONNRESET))
        return 0;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return error_set(error, ERROR_TIMEOUT, "no message from the agent's other half yet");
    if (got < 0)
        return error_set_errno(error, errno, "receive from the agent's other half");
    AUTO_CLOSE int descriptor = take_descriptor(&header);
    if ((size_t)got != sizeof message || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
        return error_set(error, ERROR_PROTOCOL,
                         "a message of %zd bytes from the agent's other half, expected %zu: are "
                         "both of one version?",
                         got, sizeof message);
    *ret_message = message;
    *ret_descriptor = TAKE_DESCRIPTOR(descriptor);
    return 1;
}

void host_mac_of_instance(const char *id, char ret_mac[18])
{
    memcpy(ret_mac, "52", 3);
    for (size_t pair = 0; pair < 5; pair++) {
        ret_mac[2 + 3 * pair] = ':';
        ret_mac[3 + 3 * pair] = id[2 + 2 * pair];
        ret_mac[4 + 3 * pair] = id[3 + 2 * pair];
    }
    ret_mac[17] = '\0';
}
