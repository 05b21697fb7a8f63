/* What every daemon's HTTP interface has in common. */
#pragma once

/* Sent by client and agent on every call; a scheduler serves this and the one before. */
#define SHOAL_PROTOCOL        1
#define SHOAL_PROTOCOL_HEADER "Shoal-Protocol: 1"

#define REGISTRY_DEFAULT_PORT  5000
#define SCHEDULER_DEFAULT_PORT 7000
#define AGENT_DEFAULT_PORT     7001

/* "<12 hex digits>": 4 of the store's term, then 8 of a counter. With NUL. */
#define INSTANCE_ID_MAX 13
/* Services, namespaces, nodes, keys, ports: text_is_name. With NUL. */
#define NAME_MAX_TEXT 64
/* A cluster's id: 32 hex digits. With NUL. */
#define CLUSTER_ID_MAX 33
/* An IPv4 address in dotted form. With NUL. */
#define ADDRESS_MAX 16
#define CAUSE_MAX   64
#define REASON_MAX  512
