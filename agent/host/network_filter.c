#include "agent/host/network_filter.h"

#include <nftables/libnftables.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/host/namespace.h"
#include "lib/buffer.h"
#include "lib/xalloc.h"

/* A frame from a guest passes only when tap, MAC and IPv4 sender belong together; an ARP answer
 * must also name that MAC inside. Everything else (IPv6, VLAN tags, other senders) is dropped
 * before the bridge learns from it. Nothing is ever forwarded.
 *
 * What goes to the DHCP server's port may also come from nobody's address, but only as a client's
 * whole request (RFC 2131, 2: BOOTREQUEST, Ethernet, through no relay) whose client address, the
 * six bytes 28 behind the UDP header, is the tap's own MAC: a guest can neither ask, decline nor
 * release in the name of another. It may do so ten times a second. An answer leaves only by the tap
 * of the client that it names, so one that is broadcast is told to nobody else. */
static const char rules[] =
    "add table bridge shoal\n"
    "add set bridge shoal guests { type ifname . ether_addr . ipv4_addr ; }\n"
    "add set bridge shoal dhcp_clients { typeof iifname . ether saddr . @th,288,48 ; }\n"
    "add set bridge shoal dhcp_taps { typeof oifname . @th,288,48 ; }\n"
    "add set bridge shoal dhcp_pace"
    " { type ifname ; flags dynamic,timeout ; timeout 1m ; size 8192 ; }\n"
    "add chain bridge shoal arp_sender\n"
    "add chain bridge shoal dhcp\n"
    "add chain bridge shoal ingress { type filter hook prerouting priority -300 ; policy drop ; }\n"
    "add chain bridge shoal forward { type filter hook forward priority 0 ; policy drop ; }\n"
    "add chain bridge shoal egress { type filter hook output priority 0 ; policy accept ; }\n"
    "flush chain bridge shoal ingress\n"
    "flush chain bridge shoal egress\n"
    "flush chain bridge shoal arp_sender\n"
    "flush chain bridge shoal dhcp\n"
    "add rule bridge shoal arp_sender iifname . arp saddr ether . arp saddr ip @guests accept\n"
    "add rule bridge shoal dhcp ip frag-off & 0x3fff != 0 drop\n"
    "add rule bridge shoal dhcp udp sport != 68 drop\n"
    "add rule bridge shoal dhcp @th,64,24 != 0x010106 drop\n" /* op, htype, hlen */
    "add rule bridge shoal dhcp @th,256,32 != 0 drop\n"       /* giaddr */
    "add rule bridge shoal dhcp iifname . ether saddr . @th,288,48 != @dhcp_clients drop\n"
    "add rule bridge shoal dhcp update @dhcp_pace"
    " { iifname limit rate over 10/second burst 20 packets } drop\n"
    "add rule bridge shoal dhcp ip saddr 0.0.0.0 ip daddr 255.255.255.255 accept\n"
    "add rule bridge shoal dhcp iifname . ether saddr . ip saddr @guests accept\n"
    "add rule bridge shoal dhcp drop\n"
    "add rule bridge shoal ingress ether type ip udp dport 67 jump dhcp\n"
    "add rule bridge shoal ingress ether type ip iifname . ether saddr . ip saddr @guests accept\n"
    "add rule bridge shoal ingress ether type arp iifname . ether saddr . arp saddr ip @guests"
    " jump arp_sender\n"
    "add rule bridge shoal egress ether type ip udp sport 67 udp dport 68"
    " oifname . @th,288,48 != @dhcp_taps drop\n"
    "add table inet shoal\n"
    "add chain inet shoal forward { type filter hook forward priority 0 ; policy drop ; }\n";

struct network_filter {
    struct nft_ctx *context;
    pthread_mutex_t lock; /* over `context` */
};

/* Its socket belongs to the namespace that the calling thread is in. */
static struct nft_ctx *open_context(void)
{
    struct nft_ctx *context = nft_ctx_new(NFT_CTX_DEFAULT);
    if (context == NULL)
        return NULL;
    nft_ctx_buffer_output(context);
    nft_ctx_buffer_error(context);
    return context;
}

int network_filter_create(int namespace, struct network_filter **ret_filter, struct error *error)
{
    int previous;
    if (namespace_enter(namespace, &previous, error) < 0)
        return -1;
    struct nft_ctx *context = open_context();
    namespace_leave(previous);
    if (context == NULL)
        return error_set(error, ERROR_IO, "nftables: cannot open a netlink socket");
    struct network_filter *filter = xcalloc(1, sizeof *filter);
    filter->context = context;
    pthread_mutex_init(&filter->lock, NULL);
    *ret_filter = filter;
    return 0;
}

void network_filter_destroy(struct network_filter *filter)
{
    if (filter == NULL)
        return;
    nft_ctx_free(filter->context);
    pthread_mutex_destroy(&filter->lock);
    free(filter);
}

static int run(struct network_filter *filter, const char *commands, struct error *error)
{
    pthread_mutex_lock(&filter->lock);
    int result = nft_run_cmd_from_buffer(filter->context, commands);
    /* Reading them empties both. */
    nft_ctx_get_output_buffer(filter->context);
    const char *message = nft_ctx_get_error_buffer(filter->context);
    if (result != 0)
        error_set(error, ERROR_IO, "nftables: %.*s", (int)strcspn(message, "\n"), message);
    pthread_mutex_unlock(&filter->lock);
    return result == 0 ? 0 : -1;
}

int network_filter_install(struct network_filter *filter, struct error *error)
{
    return run(filter, rules, error);
}

#define PIN_COMMANDS_MAX 512

/* The elements of one pin, for one transaction; `verb` is "add" or "delete". */
static void format_pin(char text[PIN_COMMANDS_MAX], const char *verb, const char *tap,
                       const char *mac, const char *address)
{
    char number[13] = ""; /* the MAC's digits */
    size_t length = 0;
    for (const char *at = mac; *at != '\0' && length < sizeof number - 1; at++) {
        if (*at != ':')
            number[length++] = *at;
    }
    snprintf(text, PIN_COMMANDS_MAX,
             "%s element bridge shoal guests { \"%s\" . %s . %s }\n"
             "%s element bridge shoal dhcp_clients { \"%s\" . %s . 0x%s }\n"
             "%s element bridge shoal dhcp_taps { \"%s\" . 0x%s }\n",
             verb, tap, mac, address, verb, tap, mac, number, verb, tap, number);
}

int network_filter_reset(struct network_filter *filter, const struct network_pin *pins,
                         size_t count, struct error *error)
{
    AUTO_BUFFER struct buffer commands = {0};
    buffer_append_text(&commands, rules);
    buffer_append_text(&commands, "flush set bridge shoal guests\n"
                                  "flush set bridge shoal dhcp_clients\n"
                                  "flush set bridge shoal dhcp_taps\n");
    for (size_t i = 0; i < count; i++) {
        char lines[PIN_COMMANDS_MAX];
        format_pin(lines, "add", pins[i].tap, pins[i].mac, pins[i].address);
        buffer_append_text(&commands, lines);
    }
    return run(filter, buffer_text(&commands), error);
}

int network_filter_pin(struct network_filter *filter, const char *tap, const char *mac,
                       const char *address, struct error *error)
{
    char commands[PIN_COMMANDS_MAX];
    format_pin(commands, "add", tap, mac, address);
    return run(filter, commands, error);
}

void network_filter_unpin(struct network_filter *filter, const char *tap, const char *mac,
                          const char *address)
{
    char commands[PIN_COMMANDS_MAX];
    format_pin(commands, "delete", tap, mac, address);
    run(filter, commands, NULL);
}
