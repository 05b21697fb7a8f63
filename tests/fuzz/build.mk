# Fuzzers: one for each reader of what a client sends, tests/fuzz/fuzz_NAME.c, by clang's libFuzzer
# with sanitizers. They and all they link are built in a folder of their own, $(BUILD)/fuzz.
#
#   FUZZ_SECONDS=60       how long each one runs
#   FUZZ=manifest         only those with this in their names

FUZZ_SECONDS ?= 10
FUZZ         ?=
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/bin/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))

.PHONY: fuzz fuzz-build fuzz-programs
fuzz: fuzz-build ## run the fuzzers (FUZZ=NAME FUZZ_SECONDS=60)
	@BUILD=$(BUILD) tests/fuzz/run $(FUZZ_SECONDS) $(FUZZ)

fuzz-build:
	@$(MAKE) --no-print-directory CC="$(if $(findstring ccache,$(CC)),ccache )clang" \
		SAN=address,undefined BUILD=$(BUILD)/fuzz CFLAGS=-fsanitize=fuzzer-no-link fuzz-programs

fuzz-programs: $(FUZZERS)
$(FUZZERS): $(BUILD)/bin/%: $(BUILD)/obj/tests/fuzz/%.o $(call objects,$(REGISTRY_SOURCES) $(SCHEDULER_SOURCES) $(EXAMPLES_SOURCES) agent/host_protocol.c $(addprefix agent/host/,qmp.c domain_metadata.c domain_xml.c)) $(BUILD)/libshoal.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(LINK) -fsanitize=fuzzer -o $@ $^ $(PKG_LIBS) $(REGISTRY_LIBS)
