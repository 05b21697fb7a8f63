#include "agent/host/network_filter.h"

#include <nftables/libnftables.h>
#include <stdio.h>
#include <string.h>

#include "lib/buffer.h"

/* A frame from a guest passes only when tap, MAC and IPv4 sender belong together; an ARP answer
 * must also name that MAC inside. Everything else (IPv6, VLAN tags, other senders) is dropped
 * before the bridge learns from it. Nothing is ever forwarded. */
static const char rules[] =
    "add table bridge shoal\n"
    "add set bridge shoal guests { type ifname . ether_addr . ipv4_addr ; }\n"
    "add chain bridge shoal arp_sender\n"
    "add chain bridge shoal ingress { type filter hook prerouting priority -300 ; policy drop ; }\n"
    "add chain bridge shoal forward { type filter hook forward priority 0 ; policy drop ; }\n"
    "flush chain bridge shoal ingress\n"
    "flush chain bridge shoal arp_sender\n"
    "add rule bridge shoal arp_sender iifname . arp saddr ether . arp saddr ip @guests accept\n"
    "add rule bridge shoal ingress ether type ip iifname . ether saddr . ip saddr @guests accept\n"
    "add rule bridge shoal ingress ether type arp iifname . ether saddr . arp saddr ip @guests"
    " jump arp_sender\n"
    "add table inet shoal\n"
    "add chain inet shoal forward { type filter hook forward priority 0 ; policy drop ; }\n";

static int run(const char *commands, struct error *error)
{
    struct nft_ctx *context = nft_ctx_new(NFT_CTX_DEFAULT);
    if (context == NULL)
        return error_set(error, ERROR_IO, "nftables: cannot open a netlink socket");
    nft_ctx_buffer_output(context);
    nft_ctx_buffer_error(context);
    int result = nft_run_cmd_from_buffer(context, commands);
    if (result != 0) {
        const char *message = nft_ctx_get_error_buffer(context);
        error_set(error, ERROR_IO, "nftables: %.*s", (int)strcspn(message, "\n"), message);
    }
    nft_ctx_free(context);
    return result == 0 ? 0 : -1;
}

int network_filter_install(struct error *error)
{
    return run(rules, error);
}

static void format_element(char *text, size_t size, const char *verb, const char *tap,
                           const char *mac, const char *address)
{
    snprintf(text, size, "%s element bridge shoal guests { \"%s\" . %s . %s }\n", verb, tap, mac,
             address);
}

int network_filter_reset(const struct network_pin *pins, size_t count, struct error *error)
{
    AUTO_BUFFER struct buffer commands = {0};
    buffer_append_text(&commands, rules);
    buffer_append_text(&commands, "flush set bridge shoal guests\n");
    for (size_t i = 0; i < count; i++) {
        char line[256];
        format_element(line, sizeof line, "add", pins[i].tap, pins[i].mac, pins[i].address);
        buffer_append_text(&commands, line);
    }
    return run(buffer_text(&commands), error);
}

int network_filter_pin(const char *tap, const char *mac, const char *address, struct error *error)
{
    char command[256];
    format_element(command, sizeof command, "add", tap, mac, address);
    return run(command, error);
}

void network_filter_unpin(const char *tap, const char *mac, const char *address)
{
    char command[256];
    format_element(command, sizeof command, "delete", tap, mac, address);
    run(command, NULL);
}
