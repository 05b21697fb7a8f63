# Builds the example runtime and the services on it: included by the top Makefile, and usable alone
# (make -f examples/build.mk examples). Kernels are freestanding: none of the host's flags apply.
#
#   examples     every kernel and the folders that `shoal build` packs
#   lwip         fetch and unpack lwIP only
#   bench-boot   tests/bench/boot.sh

BUILD ?= build
ifneq ($(V),1)
examples_quiet := @
examples_say = @printf '  %-7s %s\n' $(1) $(2)
endif
ifeq ($(origin CC),default)
CC := gcc
endif

.PHONY: examples lwip bench-boot

examples_source := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
examples_root := $(patsubst %/,%,$(dir $(examples_source)))
ifeq ($(examples_root),)
examples_root := .
endif
examples_build := $(BUILD)/examples
examples_lwip := $(BUILD)/lwip
examples_runtime := $(examples_source)/runtime

# One compiler an architecture: this machine's own, and Debian's cross compiler for the other.
examples_architectures := x86_64 aarch64
examples_image_x86_64 := amd64
examples_image_aarch64 := arm64
examples_ccache := $(if $(findstring ccache,$(CC)),ccache)
examples_prefix_x86_64 := x86_64-linux-gnu-
examples_prefix_aarch64 := aarch64-linux-gnu-
examples_native := $(shell uname -m)
$(foreach a,$(examples_architectures),$(eval \
	examples_cc_$(a) := $(if $(filter $(a),$(examples_native)),$(CC),$(examples_ccache) $(examples_prefix_$(a))gcc)))

examples_machine_x86_64 := -m64 -mno-red-zone -mgeneral-regs-only -fcf-protection=none
examples_machine_aarch64 := -mgeneral-regs-only -mno-outline-atomics -mbranch-protection=none \
	-falign-functions=4 -falign-jumps=1 -falign-loops=1
examples_code := -O2 -g -ffreestanding -fno-pic -fno-pie -fno-stack-protector \
	-fno-asynchronous-unwind-tables -ffunction-sections -fdata-sections -fno-common \
	-ffile-prefix-map=$(examples_root)/= -fdebug-prefix-map=$(CURDIR)=.
examples_lwip_include := -I$(examples_runtime)/lwip -isystem $(examples_lwip)/src/include
examples_warnings := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Werror
examples_ldflags := -nostdlib -static -no-pie -Wl,--gc-sections -Wl,--build-id=none \
	-Wl,-z,max-page-size=4096 -Wl,-z,noexecstack

examples_sources_x86_64 := $(addprefix x86_64/,start.c interrupts.c clock.c serial.c devices.c power.c entry.S)
examples_sources_aarch64 := $(addprefix aarch64/,start.c fdt.c device_tree.c page_tables.c interrupts.c \
	clock.c serial.c devices.c power.c panic_device.c entry.S)
examples_runtime_sources := runtime.c arguments.c memory.c network.c virtio_net.c virtio_blk.c virtio_queue.c \
	http_server.c http_lwip.c http_message.c library/string.c library/format.c
examples_lwip_sources := $(addprefix core/,def.c inet_chksum.c init.c ip.c mem.c memp.c netif.c \
	pbuf.c tcp.c tcp_in.c tcp_out.c timeouts.c ipv4/etharp.c ipv4/icmp.c ipv4/ip4.c \
	ipv4/ip4_addr.c) netif/ethernet.c

examples_hello_versions := 1 2 3
examples_hello_1 := -DHELLO_VERSION='"1.0"' -DHELLO_BROKEN=false
examples_hello_2 := -DHELLO_VERSION='"2.0"' -DHELLO_BROKEN=false
examples_hello_3 := -DHELLO_VERSION='"3.0"' -DHELLO_BROKEN=true

# $(1): a folder below examples/, $(2): a service's name. What `shoal build` packs of it.
examples_image_of = $(examples_build)/$(1)/Unikernel.yaml $(foreach a,$(examples_architectures),$(addprefix \
	$(examples_build)/$(1)/$(2)-$(examples_image_$(a)).,elf debug))

examples: ## build the example guests
examples: $(foreach v,$(examples_hello_versions),$(call examples_image_of,hello/v$(v),hello)) \
	$(call examples_image_of,batch,batch) \
	$(foreach a,$(examples_architectures),$(examples_build)/bare/bare-$(examples_image_$(a)).elf)

# The stamp is lwIP's own: a new pin in the script fetches again.
lwip: $(examples_lwip)/.complete ## fetch and unpack lwIP
$(examples_lwip)/.complete: $(examples_runtime)/fetch-lwip.sh
	@mkdir -p $(BUILD)
	$< $(BUILD)
	@touch $@

# $(1): the architecture. Its objects lie in a folder of their own.
define examples_architecture_rules
examples_out_$(1) := $(examples_build)/$(1)
examples_flags_$(1) := -std=c17 $(examples_code) $$(examples_machine_$(1)) -nostdinc \
	-isystem $$(shell $$(examples_cc_$(1)) -print-file-name=include) \
	-I$(examples_runtime)/include -I$(examples_runtime)/$(1)
examples_objects_$(1) := $$(addprefix $$(examples_out_$(1))/runtime/,$$(addsuffix .o,$(examples_runtime_sources) $$(examples_sources_$(1))))
examples_lwip_objects_$(1) := $$(addprefix $$(examples_out_$(1))/lwip/,$(addsuffix .o,$(examples_lwip_sources)))

# lwIP is not ours to warn about.
$$(examples_lwip_objects_$(1)): $$(examples_out_$(1))/lwip/%.o: $(examples_lwip)/.complete $(examples_source)/build.mk
	@mkdir -p $$(@D)
	$$(call examples_say,CC,$$@)
	$$(examples_quiet)$$(examples_cc_$(1)) -w $$(examples_flags_$(1)) $(examples_lwip_include) \
		-MD -MP -c -o $$@ $(examples_lwip)/src/$$*

$$(examples_objects_$(1)): $$(examples_out_$(1))/runtime/%.o: $(examples_runtime)/% $(examples_lwip)/.complete $(examples_source)/build.mk
	@mkdir -p $$(@D)
	$$(call examples_say,CC,$$@)
	$$(examples_quiet)$$(examples_cc_$(1)) $(examples_warnings) $$(examples_flags_$(1)) $(examples_lwip_include) \
		-MD -MP -c -o $$@ $$<

$$(examples_out_$(1))/image.ld: $(examples_runtime)/$(1)/image.ld $(examples_runtime)/$(1)/layout.h $(examples_source)/build.mk
	@mkdir -p $$(@D)
	$$(examples_quiet)$$(examples_cc_$(1)) -E -P -x c -o $$@ $$<

-include $$(examples_objects_$(1):.o=.d) $$(examples_lwip_objects_$(1):.o=.d)
endef
$(foreach a,$(examples_architectures),$(eval $(call examples_architecture_rules,$(a))))

# A kernel and its symbols. $(1): their folder below examples/, $(2): their name, $(3): the architecture,
# $(4): the service's source, $(5): what it is compiled with besides. What boots has no symbols; the
# other has nothing else.
define examples_kernel_rules
$$(examples_out_$(3))/$(1)/$(2).o: $(4) $(examples_lwip)/.complete $(examples_source)/build.mk
	@mkdir -p $$(@D)
	$$(call examples_say,CC,$$@)
	$$(examples_quiet)$$(examples_cc_$(3)) $(examples_warnings) $$(examples_flags_$(3)) $(5) -MMD -MP -c -o $$@ $$<

$$(examples_out_$(3))/$(1)/$(2).whole: $$(examples_out_$(3))/$(1)/$(2).o \
		$$(examples_objects_$(3)) $$(examples_lwip_objects_$(3)) $$(examples_out_$(3))/image.ld
	$$(call examples_say,LINK,$$@)
	$$(examples_quiet)$$(examples_cc_$(3)) $$(examples_machine_$(3)) $(examples_ldflags) \
		-T $$(examples_out_$(3))/image.ld -o $$@ $$(filter %.o,$$^)

$(examples_build)/$(1)/$(2)-$(examples_image_$(3)).elf: $$(examples_out_$(3))/$(1)/$(2).whole
	@mkdir -p $$(@D)
	$$(examples_quiet)$(examples_prefix_$(3))strip --strip-all -o $$@ $$<

$(examples_build)/$(1)/$(2)-$(examples_image_$(3)).debug: $$(examples_out_$(3))/$(1)/$(2).whole
	@mkdir -p $$(@D)
	$$(examples_quiet)$(examples_prefix_$(3))objcopy --only-keep-debug $$< $$@

-include $$(examples_out_$(3))/$(1)/$(2).d
endef
$(foreach a,$(examples_architectures),$(foreach v,$(examples_hello_versions),$(eval $(call \
	examples_kernel_rules,hello/v$(v),hello,$(a),$(examples_source)/hello/hello.c,$$(examples_hello_$(v))))) \
	$(eval $(call examples_kernel_rules,batch,batch,$(a),$(examples_source)/batch/batch.c)))

$(examples_build)/hello/v%/Unikernel.yaml: $(examples_source)/hello/Unikernel.yaml
	@mkdir -p $(@D)
	$(examples_quiet)cp $< $@

$(examples_build)/batch/Unikernel.yaml: $(examples_source)/batch/Unikernel.yaml
	@mkdir -p $(@D)
	$(examples_quiet)cp $< $@

# $(1): the architecture.
define examples_bare_rules
$(examples_build)/bare/bare-$(examples_image_$(1)).elf: $(examples_source)/bare/$(1).S $(examples_source)/bare/$(1).ld $(examples_source)/build.mk
	@mkdir -p $$(@D)
	$$(call examples_say,LINK,$$@)
	$$(examples_quiet)$$(examples_cc_$(1)) $$(examples_machine_$(1)) $(examples_ldflags) \
		-T $(examples_source)/bare/$(1).ld -o $$@ $$<
	$$(examples_quiet)$(examples_prefix_$(1))strip --strip-all $$@
endef
$(foreach a,$(examples_architectures),$(eval $(call examples_bare_rules,$(a))))

$(BUILD)/bench/boot_clock: $(examples_root)/tests/bench/boot_clock.c $(examples_source)/build.mk
	@mkdir -p $(@D)
	$(call examples_say,CC,$@)
	$(examples_quiet)$(CC) -std=c17 -O2 -Wall -Wextra -Werror -D_GNU_SOURCE -MMD -MP -o $@ $<

bench-boot: all $(BUILD)/bench/boot_clock ## measure how fast a guest answers
	$(examples_quiet)BUILD=$(BUILD) $(examples_root)/tests/bench/boot.sh

include $(examples_source)/counter/build.mk $(examples_source)/posix/build.mk $(examples_source)/linux/build.mk

-include $(BUILD)/bench/boot_clock.d
