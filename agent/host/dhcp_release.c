#include "agent/host/dhcp_release.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/host/namespace.h"
#include "lib/cleanup.h"

#define SERVER_PORT 67

/* RFC 2131, figure 1; all the rest is zero. */
enum field {
    FIELD_OPERATION = 0,
    FIELD_HARDWARE_TYPE = 1,
    FIELD_HARDWARE_LENGTH = 2,
    FIELD_CLIENT_ADDRESS = 12,
    FIELD_CLIENT_HARDWARE = 28,
    FIELD_OPTIONS = 236,
};

int dhcp_release_render(const struct network_pin *lease, const char *gateway,
                        uint8_t ret_message[DHCP_RELEASE_BYTES])
{
    /* The magic cookie; message type 7, RELEASE; server identifier (RFC 2132, 9.6, 9.7); the end.
     */
    static const uint8_t options[] = {99, 130, 83, 99, 53, 1, 7, 54, 4, 0, 0, 0, 0, 255};
    _Static_assert(FIELD_OPTIONS + sizeof options == DHCP_RELEASE_BYTES, "the options end it");
    uint8_t message[DHCP_RELEASE_BYTES] = {0};
    uint8_t *mac = message + FIELD_CLIENT_HARDWARE;
    memcpy(message + FIELD_OPTIONS, options, sizeof options);
    message[FIELD_OPERATION] = 1; /* BOOTREQUEST */
    message[FIELD_HARDWARE_TYPE] = 1;
    message[FIELD_HARDWARE_LENGTH] = 6;
    if (sscanf(lease->mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3],
               &mac[4], &mac[5]) != 6 ||
        inet_pton(AF_INET, lease->address, message + FIELD_CLIENT_ADDRESS) != 1 ||
        inet_pton(AF_INET, gateway, message + DHCP_RELEASE_BYTES - 5) != 1)
        return -1;
    memcpy(ret_message, message, sizeof message);
    return 0;
}

/* Bound to the bridge, or dnsmasq would take it for something of the loopback link's. */
static int send_here(const uint8_t *message, const char *gateway, struct error *error)
{
    static const char bridge[] = NETWORK_BRIDGE;
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(SERVER_PORT)};
    AUTO_CLOSE int connection = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    inet_pton(AF_INET, gateway, &server.sin_addr);
    if (connection < 0 ||
        setsockopt(connection, SOL_SOCKET, SO_BINDTODEVICE, bridge, sizeof bridge) < 0 ||
        sendto(connection, message, DHCP_RELEASE_BYTES, 0, (const struct sockaddr *)&server,
               sizeof server) < 0)
        return error_set_errno(error, errno, "release a lease at %s", gateway);
    return 0;
}

int dhcp_release_send(int namespace, const struct network_pin *lease, const char *gateway,
                      struct error *error)
{
    uint8_t message[DHCP_RELEASE_BYTES];
    int previous;
    if (dhcp_release_render(lease, gateway, message) < 0)
        return error_set(error, ERROR_INVALID, "release the lease of %s: it is not one",
                         lease->tap);
    if (namespace_enter(namespace, &previous, error) < 0)
        return -1;
    int result = send_here(message, gateway, error);
    namespace_leave(previous);
    return result;
}
