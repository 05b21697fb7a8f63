#include "scheduler/subnets.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define SUBNET_BITS 24

/* The network as a number and its length; false when it is not a network. */
static bool parse_network(const char *text, uint32_t *ret_base, unsigned *ret_bits)
{
    char address[32];
    const char *slash = strchr(text, '/');
    struct in_addr parsed;
    uint64_t bits;
    if (slash == NULL || (size_t)(slash - text) >= sizeof address ||
        !text_parse_u64(slash + 1, 31, &bits))
        return false;
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = '\0';
    if (inet_pton(AF_INET, address, &parsed) != 1)
        return false;
    *ret_base = ntohl(parsed.s_addr);
    *ret_bits = (unsigned)bits;
    return bits > 0 && (*ret_base & (UINT32_MAX >> bits)) == 0;
}

int subnets_check_network(const char *network, struct error *error)
{
    uint32_t base;
    unsigned bits;
    if (!parse_network(network, &base, &bits) || bits < 8 || bits > SUBNET_BITS)
        return error_set(error, ERROR_INVALID,
                         "\"%s\" is not a network for guests: an IPv4 network of 8 to %d bits like "
                         "10.64.0.0/10 is needed",
                         network, SUBNET_BITS);
    return 0;
}

static bool is_within(const char *network, const char *subnet)
{
    uint32_t base, claimed;
    unsigned bits, claimed_bits;
    return parse_network(network, &base, &bits) && parse_network(subnet, &claimed, &claimed_bits) &&
           claimed_bits == SUBNET_BITS && (claimed & ~(UINT32_MAX >> bits)) == base;
}

uint32_t subnets_number(const char *subnet)
{
    uint32_t base;
    unsigned bits;
    return parse_network(subnet, &base, &bits) && bits == SUBNET_BITS ? base >> 8 : 0;
}

/* One bit for each /24 of the network that another node has, or is given by this change. */
struct leases {
    uint32_t first;
    uint32_t count;
    uint8_t *bits;
};

static void take(struct leases *leases, uint32_t number)
{
    uint32_t at = number - leases->first;
    if (number >= leases->first && at < leases->count)
        leases->bits[at / 8] |= (uint8_t)(1u << at % 8);
}

static bool is_taken(const struct leases *leases, uint32_t number)
{
    uint32_t at = number - leases->first;
    return (leases->bits[at / 8] >> at % 8 & 1) != 0;
}

static void collect_leases(const struct model *model, const struct change *change, const char *node,
                           struct leases *leases)
{
    const struct model_node *own = model_node(model, node);
    for (size_t i = 0; i < model->nodes.count; i++) {
        const struct model_node *other = model->nodes.items[i];
        if (other != own)
            take(leases, other->subnet);
    }
    for (size_t i = 0; i < model->removed_nodes.count; i++) {
        const struct model_removed_node *other = model->removed_nodes.items[i];
        if (strcmp(other->name, node) != 0)
            take(leases, subnets_number(other->document->subnet));
    }
    for (size_t i = 0; change != NULL && i < change->count; i++) {
        const struct document_node *other = change->writes[i].document;
        if (change->writes[i].kind == DOCUMENT_NODE && strcmp(other->name, node) != 0)
            take(leases, subnets_number(other->subnet));
    }
}

static int first_free(const struct leases *leases, uint32_t *ret_number, struct error *error)
{
    for (uint32_t i = 0; i < leases->count; i++) {
        if (is_taken(leases, leases->first + i))
            continue;
        *ret_number = leases->first + i;
        return 0;
    }
    return error_set(error, ERROR_NO_CAPACITY,
                     "every /%d of the cluster's network is leased to a node: start the scheduler "
                     "with a larger --network",
                     SUBNET_BITS);
}

int subnets_lease(const struct model *model, const struct change *change, const char *network,
                  const char *node, const char *claimed, char *ret_subnet, size_t size,
                  struct error *error)
{
    const struct model_node *known = model_node(model, node);
    uint32_t base, number = 0;
    unsigned bits;
    if (known != NULL && is_within(network, known->document->subnet)) {
        snprintf(ret_subnet, size, "%s", known->document->subnet);
        return 0;
    }
    if (subnets_check_network(network, error) < 0 || !parse_network(network, &base, &bits))
        return -1;
    struct leases leases = {.first = base >> 8, .count = UINT32_C(1) << (SUBNET_BITS - bits)};
    AUTO_FREE uint8_t *memory = xcalloc(leases.count / 8 + 1, 1);
    leases.bits = memory;
    collect_leases(model, change, node, &leases);
    if (claimed[0] != '\0' && is_within(network, claimed) &&
        !is_taken(&leases, subnets_number(claimed)))
        number = subnets_number(claimed);
    else if (first_free(&leases, &number, error) < 0)
        return -1;
    snprintf(ret_subnet, size, "%u.%u.%u.0/%d", number >> 16, number >> 8 & 0xff, number & 0xff,
             SUBNET_BITS);
    return 0;
}
