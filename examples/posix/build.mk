# hello as an ordinary process: included by examples/build.mk. The runtime's own files, with the
# kernel's clock and sockets below them instead of lwIP and devices.

examples_posix := $(examples_build)/posix
examples_posix_flags := -std=c17 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Werror \
	-O2 -g -D_GNU_SOURCE -ffunction-sections -fdata-sections -ffile-prefix-map=$(examples_root)/= \
	-iquote $(examples_source)/posix -idirafter $(examples_runtime)/include
examples_posix_ldflags := -static -Wl,--gc-sections -Wl,--build-id=none
examples_posix_sources := $(addprefix runtime/,runtime.c arguments.c memory.c http_server.c http_message.c) \
	$(addprefix posix/,machine.c network.c http_sockets.c)
examples_posix_objects := $(addprefix $(examples_posix)/,$(examples_posix_sources:.c=.o))

examples: $(foreach v,$(examples_hello_versions),$(examples_build)/hello/process/hello-$(v))

$(examples_posix)/%.o: $(examples_source)/%.c $(examples_source)/posix/build.mk
	@mkdir -p $(@D)
	$(call examples_say,CC,$<)
	$(examples_quiet)$(CC) $(examples_posix_flags) -MMD -MP -c -o $@ $<

define examples_posix_rules
$(examples_posix)/hello-$(1).o: $(examples_source)/hello/hello.c $(examples_source)/posix/build.mk
	@mkdir -p $$(@D)
	$$(call examples_say,CC,$$@)
	$$(examples_quiet)$$(CC) $$(examples_posix_flags) $$(examples_hello_$(1)) -MMD -MP -c -o $$@ $$<

$(examples_build)/hello/process/hello-$(1): $(examples_posix)/hello-$(1).o $(examples_posix_objects) \
		$(examples_posix)/posix/process.o
	@mkdir -p $$(@D)
	$$(call examples_say,LINK,$$@)
	$$(examples_quiet)$$(CC) $$(examples_posix_ldflags) -s -o $$@ $$(filter %.o,$$^)
endef
$(foreach v,$(examples_hello_versions),$(eval $(call examples_posix_rules,$(v))))

-include $(examples_posix_objects:.o=.d) $(examples_posix)/posix/process.d
-include $(foreach v,$(examples_hello_versions),$(examples_posix)/hello-$(v).d)
