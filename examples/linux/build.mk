# hello as a Linux microVM: included by examples/build.mk. Its init is the process of ../posix with
# init.c in the place of process.c. The kernel is fetched, so this is no part of `make examples`.
#
#   linux-kernel     fetch and unpack Debian's cloud kernel only
#   examples-linux   the folder that `shoal build` packs

.PHONY: linux-kernel examples-linux

examples_linux_kernel := $(BUILD)/linux
examples_linux := $(examples_build)/hello-linux
examples_linux_objects := $(addprefix $(examples_posix)/linux/,init.o address.o)

# The stamp is the kernel's own: a change of the script fetches again.
linux-kernel: $(examples_linux_kernel)/.complete ## fetch and unpack Debian's cloud kernel
$(examples_linux_kernel)/.complete: $(examples_source)/linux/fetch-kernel.sh
	@rm -f $@
	$< $(BUILD)

examples-linux: ## build the example as Linux microVMs
examples-linux: $(foreach v,$(examples_hello_versions),\
	$(addprefix $(examples_linux)/v$(v)/,vmlinuz initrd Unikernel.yaml))

define examples_linux_rules
$(examples_posix)/init-$(1): $(examples_posix)/hello-$(1).o $(examples_posix_objects) $(examples_linux_objects)
	$$(call examples_say,LINK,$$@)
	$$(examples_quiet)$$(CC) $$(examples_posix_ldflags) -s -o $$@ $$(filter %.o,$$^)

$(examples_linux)/v$(1)/initrd: $(examples_posix)/init-$(1) $(examples_linux_kernel)/.complete \
		$(examples_source)/linux/make-initramfs.sh
	@mkdir -p $$(@D)
	$$(call examples_say,CPIO,$$@)
	$$(examples_quiet)$(examples_source)/linux/make-initramfs.sh $(examples_linux_kernel) $$< $$@

$(examples_linux)/v$(1)/vmlinuz: $(examples_linux_kernel)/.complete
	@mkdir -p $$(@D)
	$$(examples_quiet)cp $(examples_linux_kernel)/vmlinuz $$@

$(examples_linux)/v$(1)/Unikernel.yaml: $(examples_source)/hello/linux/Unikernel.yaml
	@mkdir -p $$(@D)
	$$(examples_quiet)cp $$< $$@
endef
$(foreach v,$(examples_hello_versions),$(eval $(call examples_linux_rules,$(v))))

-include $(examples_linux_objects:.o=.d)
