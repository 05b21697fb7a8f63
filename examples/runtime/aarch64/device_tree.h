/*
 * What this runtime needs to know of a machine, read from its device tree: where memory,
 * interrupt controller, timer, console, virtio slots and PCI are, and how to end. Pure: touches no
 * device, and the tree only through fdt.h.
 */
#ifndef RUNTIME_AARCH64_DEVICE_TREE_H
#define RUNTIME_AARCH64_DEVICE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEVICE_TREE_SLOTS_MAX 64

/* The size of what the runtime reads and writes there; a smaller region is refused. */
#define DEVICE_TREE_DISTRIBUTOR_SIZE 0x1000
#define DEVICE_TREE_INTERFACE_SIZE   0x1000
#define DEVICE_TREE_REDISTRIBUTOR    0x20000
#define DEVICE_TREE_CONSOLE_SIZE     0x1000
#define DEVICE_TREE_SLOT_SIZE        0x200

/* An interrupt by the number the controller gives it: from 16 private to the processor, from 32
 * shared. */
struct device_tree_interrupt {
    uint32_t number; /* 0: none */
    bool edge;       /* else level */
};

struct device_tree_slot {
    uint64_t address;
    struct device_tree_interrupt interrupt;
};

enum device_tree_controller {
    CONTROLLER_GICV2 = 2,
    CONTROLLER_GICV3 = 3,
};

/* How the firmware is called (PSCI, "method"). */
enum device_tree_firmware {
    FIRMWARE_NONE,
    FIRMWARE_HYPERVISOR_CALL, /* hvc */
    FIRMWARE_MONITOR_CALL,    /* smc */
};

struct device_tree_pci {
    uint64_t configuration; /* of bus 0; 0: there is no PCI */
    uint64_t window;        /* where the processor sees 32-bit memory of the bus */
    uint64_t window_size;
    uint32_t window_bus_address; /* what the bus calls the same place */
};

struct device_tree {
    const char *command_line; /* points into the tree */
    uint64_t memory_end;      /* of the memory that holds `inside`, see below */
    enum device_tree_controller controller;
    uint64_t distributor;
    uint64_t interface; /* GICv2: the processor interface; GICv3: the first redistributor */
    struct device_tree_interrupt timer;
    uint32_t timer_frequency; /* Hz; 0: the tree does not say */
    uint64_t console;         /* 0: none */
    struct device_tree_interrupt console_interrupt;
    enum device_tree_firmware firmware;
    struct device_tree_pci pci;
    uint64_t random_seed; /* 0: none */
    unsigned slot_count;
    struct device_tree_slot slots[DEVICE_TREE_SLOTS_MAX];
};

/* Reads the tree at `bytes`, of which at most `size` may be read. `inside` is an address of the
 * image: the memory around it is the guest's. Returns 0, or -1 with a few words in `ret_problem`;
 * `ret_machine` then holds what was found before, so that the problem can be told. */
int device_tree_read(struct device_tree *ret_machine, const void *bytes, size_t size,
                     uint64_t inside, const char **ret_problem);

#endif
