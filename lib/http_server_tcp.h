/* What the kernel counts of a TCP connection. In a file of its own because <linux/tcp.h>, which has
 * these counters, and <netinet/tcp.h>, which libuv includes, cannot meet. Not for anyone outside
 * lib/http_server*. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct http_tcp_counts {
    uint64_t received; /* bytes that came, whether they were read or not */
    uint64_t acked;    /* bytes sent that the other side has confirmed */
};

/* False when it is no TCP socket. */
bool http_tcp_count(int descriptor, struct http_tcp_counts *ret_counts);
