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

examples_architecture := x86_64
examples_machine := -m64 -mno-red-zone -mgeneral-regs-only -fcf-protection=none
examples_code := -O2 -g -ffreestanding -fno-pic -fno-pie -fno-stack-protector \
	-fno-asynchronous-unwind-tables -ffunction-sections -fdata-sections -fno-common \
	-ffile-prefix-map=$(examples_root)/= $(examples_machine)
examples_include := -nostdinc -isystem $(shell $(CC) -print-file-name=include) \
	-I$(examples_runtime)/include
examples_lwip_include := -I$(examples_runtime)/lwip -isystem $(examples_lwip)/src/include
examples_cflags := -std=c17 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Werror \
	$(examples_code) $(examples_include)
# lwIP is not ours to warn about.
examples_lwip_cflags := -std=c17 -w $(examples_code) $(examples_include)
examples_ldflags := -nostdlib -static -no-pie -Wl,--gc-sections -Wl,--build-id=none \
	-Wl,-z,max-page-size=4096 -Wl,-z,noexecstack

examples_runtime_sources := runtime.c arguments.c memory.c network.c virtio_net.c virtio_queue.c \
	http_server.c http_lwip.c http_message.c library/string.c library/format.c \
	$(addprefix $(examples_architecture)/,start.c interrupts.c clock.c serial.c devices.c power.c \
	entry.S)
examples_lwip_sources := $(addprefix core/,def.c inet_chksum.c init.c ip.c mem.c memp.c netif.c \
	pbuf.c tcp.c tcp_in.c tcp_out.c timeouts.c ipv4/etharp.c ipv4/icmp.c ipv4/ip4.c \
	ipv4/ip4_addr.c) netif/ethernet.c

examples_runtime_objects := $(addprefix $(examples_build)/runtime/,$(addsuffix .o,$(examples_runtime_sources)))
examples_lwip_objects := $(addprefix $(examples_build)/lwip/,$(addsuffix .o,$(examples_lwip_sources)))
examples_script := $(examples_build)/runtime/image.ld
examples_hello_versions := 1 2 3
examples_hello_1 := -DHELLO_VERSION='"1.0"' -DHELLO_BROKEN=false
examples_hello_2 := -DHELLO_VERSION='"2.0"' -DHELLO_BROKEN=false
examples_hello_3 := -DHELLO_VERSION='"3.0"' -DHELLO_BROKEN=true

examples: ## build the example guests
examples: $(foreach v,$(examples_hello_versions),\
	$(examples_build)/hello/hello-$(v).elf \
	$(examples_build)/hello/v$(v)/hello.elf $(examples_build)/hello/v$(v)/Unikernel.yaml) \
	$(examples_build)/bare/bare.elf

# The stamp is lwIP's own: a new pin in the script fetches again.
lwip: $(examples_lwip)/.complete ## fetch and unpack lwIP
$(examples_lwip)/.complete: $(examples_runtime)/fetch-lwip.sh
	@mkdir -p $(BUILD)
	$< $(BUILD)
	@touch $@

$(examples_lwip_objects): $(examples_build)/lwip/%.o: $(examples_lwip)/.complete $(examples_source)/build.mk
	@mkdir -p $(@D)
	$(call examples_say,CC,lwip/$*)
	$(examples_quiet)$(CC) $(examples_lwip_cflags) $(examples_lwip_include) -MMD -MP -c -o $@ $(examples_lwip)/src/$*

$(examples_build)/runtime/%.o: $(examples_runtime)/% $(examples_lwip)/.complete $(examples_source)/build.mk
	@mkdir -p $(@D)
	$(call examples_say,CC,$<)
	$(examples_quiet)$(CC) $(examples_cflags) $(examples_lwip_include) -MMD -MP -c -o $@ $<

$(examples_script): $(examples_runtime)/$(examples_architecture)/image.ld \
		$(examples_runtime)/$(examples_architecture)/layout.h $(examples_source)/build.mk
	@mkdir -p $(@D)
	$(examples_quiet)$(CC) -E -P -x c -o $@ $<

# A service: its objects, then one image.
define examples_hello_rules
$(examples_build)/hello/hello-$(1).o: $(examples_source)/hello/hello.c $(examples_source)/build.mk
	@mkdir -p $$(@D)
	$$(call examples_say,CC,$$@)
	$$(examples_quiet)$$(CC) $$(examples_cflags) $$(examples_hello_$(1)) -MMD -MP -c -o $$@ $$<

$(examples_build)/hello/hello-$(1).debug: $(examples_build)/hello/hello-$(1).o \
		$(examples_runtime_objects) $(examples_lwip_objects) $(examples_script)
	$$(call examples_say,LINK,$$@)
	$$(examples_quiet)$$(CC) $$(examples_machine) $$(examples_ldflags) -T $(examples_script) -o $$@ \
		$$(filter %.o,$$^)

$(examples_build)/hello/v$(1)/hello.elf: $(examples_build)/hello/hello-$(1).elf
	@mkdir -p $$(@D)
	$$(examples_quiet)cp $$< $$@

$(examples_build)/hello/v$(1)/Unikernel.yaml: $(examples_source)/hello/Unikernel.yaml
	@mkdir -p $$(@D)
	$$(examples_quiet)cp $$< $$@
endef
$(foreach v,$(examples_hello_versions),$(eval $(call examples_hello_rules,$(v))))

$(examples_build)/hello/%.elf: $(examples_build)/hello/%.debug
	$(examples_quiet)strip --strip-all -o $@ $<

$(examples_build)/bare/bare.elf: $(examples_source)/bare/bare.S $(examples_source)/bare/bare.ld $(examples_source)/build.mk
	@mkdir -p $(@D)
	$(call examples_say,LINK,$@)
	$(examples_quiet)$(CC) -m64 $(examples_ldflags) -T $(examples_source)/bare/bare.ld -o $@ $<
	$(examples_quiet)strip --strip-all $@

$(BUILD)/bench/boot_clock: $(examples_root)/tests/bench/boot_clock.c $(examples_source)/build.mk
	@mkdir -p $(@D)
	$(call examples_say,CC,$@)
	$(examples_quiet)$(CC) -std=c17 -O2 -Wall -Wextra -Werror -D_GNU_SOURCE -MMD -MP -o $@ $<

bench-boot: all $(BUILD)/bench/boot_clock ## measure how fast a guest answers
	$(examples_quiet)BUILD=$(BUILD) $(examples_root)/tests/bench/boot.sh

include $(examples_source)/posix/build.mk $(examples_source)/linux/build.mk

-include $(examples_runtime_objects:.o=.d) $(examples_lwip_objects:.o=.d)
-include $(foreach v,$(examples_hello_versions),$(examples_build)/hello/hello-$(v).d)
-include $(BUILD)/bench/boot_clock.d
