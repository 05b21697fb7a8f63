#include "scheduler/subnets.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "lib/text.h"

#define SUBNET_BITS 24

/* The network as a number and its length; false when it is not a network. */
static bool parse_network(const char *text, uint32_t *ret_base, unsigned *ret_bits)
{
    char address[32];
    const char *slash = strchr(text, '/');
    struct in_addr parsed;
    uint64_t bits;
    if (slash == NULL || (size_t)(slash - text) >= sizeof address ||
        !text_parse_u64(slash + 1, 32, &bits))
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

static bool is_free(const struct model *model, const char *node, const char *subnet)
{
    for (size_t i = 0; i < model->nodes.count; i++) {
        const struct model_node *other = model->nodes.items[i];
        if (strcmp(other->name, node) != 0 && strcmp(other->document->subnet, subnet) == 0)
            return false;
    }
    return true;
}

static bool is_within(const char *network, const char *subnet)
{
    uint32_t base, claimed;
    unsigned bits, claimed_bits;
    return parse_network(network, &base, &bits) && parse_network(subnet, &claimed, &claimed_bits) &&
           claimed_bits == SUBNET_BITS && (claimed & ~(UINT32_MAX >> bits)) == base;
}

int subnets_lease(const struct model *model, const char *network, const char *node,
                  const char *claimed, char *ret_subnet, size_t size, struct error *error)
{
    const struct model_node *known = model_node(model, node);
    if (known != NULL && is_within(network, known->document->subnet)) {
        snprintf(ret_subnet, size, "%s", known->document->subnet);
        return 0;
    }
    if (claimed[0] != '\0' && is_within(network, claimed) && is_free(model, node, claimed)) {
        snprintf(ret_subnet, size, "%s", claimed);
        return 0;
    }
    uint32_t base;
    unsigned bits;
    if (subnets_check_network(network, error) < 0 || !parse_network(network, &base, &bits))
        return -1;
    for (uint32_t i = 0; i < UINT32_C(1) << (SUBNET_BITS - bits); i++) {
        char text[32];
        uint32_t address = base + (i << 8);
        snprintf(text, sizeof text, "%u.%u.%u.0/%d", address >> 24, address >> 16 & 0xff,
                 address >> 8 & 0xff, SUBNET_BITS);
        if (is_free(model, node, text)) {
            snprintf(ret_subnet, size, "%s", text);
            return 0;
        }
    }
    return error_set(error, ERROR_NO_CAPACITY,
                     "every /%d of %s is leased to a node: start the scheduler with a larger "
                     "--network",
                     SUBNET_BITS, network);
}
