# The Linux microVM: included by examples/build.mk.
#
#   linux-kernel   fetch and unpack Debian's cloud kernel only

.PHONY: linux-kernel

examples_linux := $(BUILD)/linux

# The stamp is the kernel's own: a change of the script fetches again.
linux-kernel: $(examples_linux)/.complete ## fetch and unpack Debian's cloud kernel
$(examples_linux)/.complete: $(examples_source)/linux/fetch-kernel.sh
	@rm -f $@
	$< $(BUILD)
