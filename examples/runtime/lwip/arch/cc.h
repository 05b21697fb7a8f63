/* What lwIP asks of its platform: the compiler's side. */
#ifndef RUNTIME_LWIP_ARCH_CC_H
#define RUNTIME_LWIP_ARCH_CC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <shoal/runtime.h>

#define LWIP_NO_LIMITS_H   1
#define LWIP_NO_UNISTD_H   1
#define LWIP_NO_INTTYPES_H 1
#define LWIP_NO_CTYPE_H    1

#define INT_MAX   __INT_MAX__
#define SSIZE_MAX __INT_MAX__
typedef long ssize_t;

#define X8_F  "02x"
#define U16_F "u"
#define S16_F "d"
#define X16_F "x"
#define U32_F "u"
#define S32_F "d"
#define X32_F "x"
#define SZT_F "zu"

#define LWIP_RAND() ((u32_t)shoal_random())

#define LWIP_PLATFORM_DIAG(x) ((void)0)
/* A broken promise inside lwIP is damage already done. */
#define LWIP_PLATFORM_ASSERT(x) shoal_panic("lwIP: %s (%s:%d)", x, __FILE__, __LINE__)

#endif
