#include "lib/http_server_tcp.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

bool http_tcp_count(int descriptor, struct http_tcp_counts *ret_counts)
{
    struct tcp_info info = {0};
    socklen_t length = sizeof info;
    if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
        return false;
    ret_counts->received = info.tcpi_bytes_received;
    ret_counts->acked = info.tcpi_bytes_acked;
    return true;
}
