# counter: included by examples/build.mk.

examples: $(examples_build)/counter/Unikernel.yaml \
	$(foreach a,$(examples_architectures),$(examples_build)/counter/counter-$(examples_image_$(a)).elf)

# $(1): the architecture. The service's object, the image, the image stripped.
define examples_counter_rules
$$(examples_out_$(1))/counter/counter.o: $(examples_source)/counter/counter.c $(examples_source)/build.mk
	@mkdir -p $$(@D)
	$$(call examples_say,CC,$$@)
	$$(examples_quiet)$$(examples_cc_$(1)) $(examples_warnings) $$(examples_flags_$(1)) -MMD -MP -c -o $$@ $$<

$$(examples_out_$(1))/counter/counter.debug: $$(examples_out_$(1))/counter/counter.o \
		$$(examples_objects_$(1)) $$(examples_lwip_objects_$(1)) $$(examples_out_$(1))/image.ld
	$$(call examples_say,LINK,$$@)
	$$(examples_quiet)$$(examples_cc_$(1)) $$(examples_machine_$(1)) $(examples_ldflags) \
		-T $$(examples_out_$(1))/image.ld -o $$@ $$(filter %.o,$$^)

$(examples_build)/counter/counter-$(examples_image_$(1)).elf: $$(examples_out_$(1))/counter/counter.debug
	@mkdir -p $$(@D)
	$$(examples_quiet)$(examples_prefix_$(1))strip --strip-all -o $$@ $$<

-include $$(examples_out_$(1))/counter/counter.d
endef
$(foreach a,$(examples_architectures),$(eval $(call examples_counter_rules,$(a))))

$(examples_build)/counter/Unikernel.yaml: $(examples_source)/counter/Unikernel.yaml
	@mkdir -p $(@D)
	$(examples_quiet)cp $< $@
