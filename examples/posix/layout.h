/* The version of the contract with the platform; there is no ELF note here that tells it. */
#ifndef POSIX_LAYOUT_H
#define POSIX_LAYOUT_H

#define LAYOUT_ABI_VERSION 1

#endif
