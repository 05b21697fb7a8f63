# hello as a Linux microVM: included by examples/build.mk. Its init is the process of ../posix with
# init.c in the place of process.c. The kernel is fetched, so this is no part of `make examples`.
#
#   linux-kernel     fetch and unpack Debian's cloud kernel only
#   examples-linux   the folders that `shoal build` packs
#   linux-guests     the same for the tests, which do without where the kernel cannot be fetched
#   continuum        tests/bench/continuum.sh: every way to run hello, side by side

.PHONY: linux-kernel examples-linux linux-guests continuum

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

linux-guests: $(BUILD)/bench/continuum.linked
	@$(MAKE) --no-print-directory linux-kernel || { \
		echo "  no kernel of Linux: the tests that boot it are skipped"; exit 0; }; \
	$(MAKE) --no-print-directory examples-linux

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

# What is linked into each image, as the compiler's dependency files: whose lines are counted.
examples_hello_parts_linux-amd64 := $(examples_posix)/hello-1.o $(examples_posix_objects) $(examples_linux_objects)
examples_hello_parts_shoal-amd64 := $(examples_out_x86_64)/hello/v1/hello.o $(examples_objects_x86_64) \
	$(examples_lwip_objects_x86_64)
examples_hello_parts_shoal-arm64 := $(examples_out_aarch64)/hello/v1/hello.o $(examples_objects_aarch64) \
	$(examples_lwip_objects_aarch64)
examples_hello_parts_process := $(examples_posix)/hello-1.o $(examples_posix_objects) $(examples_posix)/posix/process.o
examples_hello_kinds := linux-amd64 shoal-amd64 shoal-arm64 process

$(BUILD)/bench/continuum.linked: $(foreach k,$(examples_hello_kinds),$(examples_hello_parts_$(k)))
	@mkdir -p $(@D)
	@printf '%s\n' $(foreach k,$(examples_hello_kinds),'$(k) $(examples_hello_parts_$(k):.o=.d)') > $@

continuum: examples examples-linux $(BUILD)/bench/boot_clock $(BUILD)/bench/continuum.linked ## boot hello in each form and compare
	$(examples_quiet)BUILD=$(BUILD) $(examples_root)/tests/bench/continuum.sh

-include $(examples_linux_objects:.o=.d)
