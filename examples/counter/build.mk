# counter: included by examples/build.mk.

examples: $(call examples_image_of,counter,counter)

$(foreach a,$(examples_architectures),$(eval $(call \
	examples_kernel_rules,counter,counter,$(a),$(examples_source)/counter/counter.c)))

$(examples_build)/counter/Unikernel.yaml: $(examples_source)/counter/Unikernel.yaml
	@mkdir -p $(@D)
	$(examples_quiet)cp $< $@
