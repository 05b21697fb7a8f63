# Shoal: build, test and run. `make help` lists the targets.
#
#   BUILD=dir             where everything built goes (default: build)
#   CC=clang              another compiler
#   SAN=address,undefined a sanitizer build, in a folder of its own

SHELL := /bin/bash
.DELETE_ON_ERROR:

# `make V=1` shows the commands themselves.
ifneq ($(V),1)
Q := @
say = @printf '  %-7s %s\n' $(1) $(2)
endif

VERSION := 0.1.0
SAN     ?=
ifeq ($(origin CC),default)
CC := gcc
endif
comma   := ,
BUILD   ?= build$(if $(SAN),-$(subst $(comma),-,$(SAN)))
PREFIX  ?= /usr/local

PACKAGES := libuv libmicrohttpd gnutls sqlite3 json-c libcurl yaml-0.1 libcrypto libcrypt libsodium libarchive
REGISTRY_PACKAGES := expat
HOST_PACKAGES := libvirt libvirt-qemu libnl-route-3.0 libnftables

DEBIAN_PACKAGES := \
	build-essential clang clang-format cppcheck shellcheck pkg-config dpkg-dev libclang-rt-14-dev \
	libuv1-dev libmicrohttpd-dev libgnutls28-dev libsqlite3-dev libjson-c-dev libcurl4-openssl-dev libyaml-dev \
	libssl-dev libcrypt-dev libsodium-dev libarchive-dev libvirt-dev libvirt-daemon libvirt-daemon-driver-qemu \
	libvirt-clients libxml2-utils libexpat1-dev \
	libnl-3-dev libnl-route-3-dev libnftables-dev libcmocka-dev \
	qemu-system-x86 qemu-system-arm qemu-utils gcc-aarch64-linux-gnu dnsmasq-base busybox-static cpio zstd \
	etcd-server etcd-client haproxy skopeo podman gdb-multiarch iproute2 procps curl jq socat openssl ca-certificates git
# For what tests/tools needs; only where no Node.js from elsewhere is there.
NODE_PACKAGES := nodejs npm

WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wold-style-definition -Wformat=2 -Wvla -Wundef -Wwrite-strings -Wpointer-arith \
	-Wimplicit-fallthrough -Wno-format-nonliteral
OPTIMIZE := -O2 -g
HARDENING := -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
ifneq ($(SAN),)
OPTIMIZE := -O1 -g -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all
HARDENING := -fPIE
LDFLAGS += -fsanitize=$(SAN)
endif
CPPFLAGS += -I. -D_GNU_SOURCE -DSHOAL_VERSION='"$(VERSION)"'
CFLAGS_ALL = -std=c17 $(WARNINGS) $(OPTIMIZE) $(HARDENING) $(CFLAGS)
LINK = $(CC) -pie $(LDFLAGS) -Wl,-z,relro,-z,now

# pkg-config is asked once, and only by targets that compile.
PKG_CFLAGS = $(eval PKG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) $(REGISTRY_PACKAGES) $(HOST_PACKAGES)))$(PKG_CFLAGS)
PKG_LIBS   = $(eval PKG_LIBS := $(shell pkg-config --libs $(PACKAGES)) -lpthread)$(PKG_LIBS)
REGISTRY_LIBS = $(eval REGISTRY_LIBS := $(shell pkg-config --libs $(REGISTRY_PACKAGES)))$(REGISTRY_LIBS)
HOST_LIBS  = $(eval HOST_LIBS := $(shell pkg-config --libs $(HOST_PACKAGES)))$(HOST_LIBS)

sources = $(sort $(wildcard $(addsuffix /*.c,$(1))))
objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

LIB_SOURCES       := $(call sources,lib lib/api)
IMAGE_SOURCES     := $(call sources,image-format)
REGISTRY_SOURCES  := $(filter-out registry/main.c,$(call sources,registry registry/*))
SCHEDULER_SOURCES := $(filter-out scheduler/main.c,$(call sources,scheduler))
AGENT_SOURCES     := $(filter-out agent/main.c,$(call sources,agent agent/host))
CLI_SOURCES       := $(filter-out cli/main.c,$(call sources,cli))
# Whole fleets on a fake clock: the scheduler's core and the pure half of an agent, with a world
# around them; microVMs are those of tests/fake. tests/sim/log.c stands in for lib/log.c.
SIM_SOURCES       := $(filter-out tests/sim/main.c,$(call sources,tests/sim)) \
	$(addprefix agent/,endpoints.c freshness.c instance.c instance_machine.c instance_record.c instance_report.c restart_policy.c \
		status_changes.c host/hypervisor.c host/call_watch.c) tests/fake/hypervisor_fake.c
# For bugs that tests/unit/sim puts in on purpose.
SIM_WRAPS := $(addprefix -Wl$(comma)--wrap=,reconcile_decide publication_is_drained counters_begin counters_know instance_adopted)
# What of the examples' runtime is pure, and so runs here as well.
EXAMPLES_SOURCES  := $(addprefix examples/runtime/aarch64/,fdt.c device_tree.c) examples/linux/address.c
UNIT_TESTS        := $(call sources,tests/unit tests/unit/*)

PROGRAMS := $(addprefix $(BUILD)/bin/,shoal shoal-registry shoal-scheduler shoal-agent)

.PHONY: all check test demo lint format install deps clean help examples unit
all: $(PROGRAMS) examples ## build everything

include examples/build.mk
include tests/fuzz/build.mk

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(PKG_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libshoal.a: $(call objects,$(LIB_SOURCES) $(IMAGE_SOURCES))
	$(call say,AR,$@)
	@rm -f $@
	$(Q)ar rcs $@ $^

# The agent's parts, of which tests/unit/host takes those that tests/fake does not stand in for.
$(BUILD)/libagent.a: $(call objects,$(AGENT_SOURCES))
$(BUILD)/libfake.a: $(call objects,$(call sources,tests/fake))
$(BUILD)/libagent.a $(BUILD)/libfake.a:
	$(call say,AR,$@)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(BUILD)/bin/shoal-registry: $(call objects,registry/main.c $(REGISTRY_SOURCES)) $(BUILD)/libshoal.a
$(BUILD)/bin/shoal-scheduler: $(call objects,scheduler/main.c $(SCHEDULER_SOURCES)) $(BUILD)/libshoal.a
$(BUILD)/bin/shoal-agent: $(call objects,agent/main.c $(AGENT_SOURCES)) $(BUILD)/libshoal.a
$(BUILD)/bin/shoal: $(call objects,cli/main.c $(CLI_SOURCES)) $(BUILD)/libshoal.a
$(BUILD)/bin/shoal-registry: EXTRA_LIBS = $(REGISTRY_LIBS)
$(BUILD)/bin/shoal-agent: EXTRA_LIBS = $(HOST_LIBS)
$(PROGRAMS):
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $^ $(PKG_LIBS) $(EXTRA_LIBS)

# A unit test tests/unit/<room>/test_x.c links the library and, for a daemon's room, that room.
unit_room = $(word 3,$(subst /, ,$(1)))
room_objects = $(call objects,$(if $(filter registry,$(1)),$(REGISTRY_SOURCES))$(if $(filter scheduler,$(1)),$(SCHEDULER_SOURCES))$(if $(filter sim,$(1)),$(SIM_SOURCES) $(SCHEDULER_SOURCES))$(if $(filter agent,$(1)),$(AGENT_SOURCES))$(if $(filter cli,$(1)),$(CLI_SOURCES))$(if $(filter examples,$(1)),$(EXAMPLES_SOURCES)))
UNIT_PROGRAMS := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(UNIT_TESTS))
define unit_rule
$(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(1)): $(call objects,$(1)) $(call room_objects,$(call unit_room,$(1))) $(if $(filter host,$(call unit_room,$(1))),$(addprefix $(BUILD)/,libfake.a libagent.a)) $(BUILD)/libshoal.a
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)
	$$(Q)$$(LINK) -o $$@ $$^ $$(PKG_LIBS) $(if $(filter agent host,$(call unit_room,$(1))),$$(HOST_LIBS)) $(if $(filter registry,$(call unit_room,$(1))),$$(REGISTRY_LIBS)) $(if $(filter sim,$(call unit_room,$(1))),$$(SIM_WRAPS)) -lcmocka
endef
$(foreach test,$(UNIT_TESTS),$(eval $(call unit_rule,$(test))))
unit: $(UNIT_PROGRAMS) ## build the unit tests

SIMULATION := $(BUILD)/tests/simulation
$(SIMULATION): $(call objects,tests/sim/main.c $(SIM_SOURCES) $(SCHEDULER_SOURCES)) $(BUILD)/libshoal.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $^ $(PKG_LIBS)

.PHONY: sim
sim: $(SIMULATION) ## simulate fleets (SEEDS=1000, or SEED=N [STEPS=0,3,5-9] to replay)
	$(Q)$(SIMULATION) $(if $(SEED),--seed $(SEED) $(if $(STEPS),--steps $(STEPS)),--seeds $(or $(SEEDS),1000) $(if $(FIRST),--first $(FIRST)))

# Plays the deciding half against the real host half, for tests/integration/host_*.sh.
HOST_DRIVER := $(BUILD)/tests/host_driver
$(HOST_DRIVER): $(call objects,tests/integration/host_driver.c agent/host_protocol.c $(call sources,agent/host)) $(BUILD)/libshoal.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $^ $(PKG_LIBS) $(HOST_LIBS)

# Says by DHCP what no client should, for tests/integration/host_dhcp.sh.
DHCP_PROBE := $(BUILD)/tests/dhcp_probe
$(DHCP_PROBE): $(call objects,tests/integration/dhcp_probe.c) $(BUILD)/libshoal.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $^ $(PKG_LIBS)

# A guest that floods its node, for tests/integration/agent_floods.sh.
FLOOD_GUEST := $(BUILD)/examples/flood/flood-amd64.elf
$(eval $(call examples_kernel_rules,flood,flood,x86_64,tests/tools/guests/flood.c,-I$(examples_runtime) $(examples_lwip_include)))

REGISTRY_LOAD := $(BUILD)/bench/registry_load
SCHEDULER_LOAD := $(BUILD)/bench/scheduler_load
PLACEMENT_BENCH := $(BUILD)/bench/placement
$(PLACEMENT_BENCH): $(call objects,tests/bench/placement.c $(SCHEDULER_SOURCES)) $(BUILD)/libshoal.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $^ $(PKG_LIBS)
$(SCHEDULER_LOAD): $(call objects,tests/bench/scheduler_load.c tests/bench/load_connection.c tests/bench/load_process.c tests/bench/load_times.c) $(BUILD)/libshoal.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $^ $(PKG_LIBS)

$(REGISTRY_LOAD): $(call objects,tests/bench/registry_load.c) $(BUILD)/libshoal.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $^ $(PKG_LIBS)

# Clients that send what no client should, for tests/integration/registry_*.sh.
REGISTRY_DRIVERS := $(addprefix $(BUILD)/tests/registry_,cut storm storm_check)
$(REGISTRY_DRIVERS): $(BUILD)/tests/%: $(BUILD)/obj/tests/integration/%.o $(call objects,tests/integration/raw_http.c) $(BUILD)/libshoal.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $^ $(PKG_LIBS)

# People and agents who write to a scheduler that is killed, for tests/integration/scheduler_kill.sh.
SCHEDULER_KILLS := $(BUILD)/tests/scheduler_kills
$(SCHEDULER_KILLS): $(call objects,tests/integration/scheduler_kills.c tests/integration/raw_http.c) $(BUILD)/libshoal.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $^ $(PKG_LIBS)

.PHONY: soak-scheduler
soak-scheduler: all $(SCHEDULER_KILLS) ## kill the scheduler among its commits (ROUNDS=500 SEED=N)
	$(Q)BUILD=$(BUILD) ROUNDS=$(or $(ROUNDS),500) $(if $(SEED),SEED=$(SEED)) bash tests/integration/scheduler_kill.sh

.PHONY: soak-agent
soak-agent: all ## kill the agent, either half, at any moment of its instances' lives (ROUNDS=300 SEED=N)
	$(Q)BUILD=$(BUILD) ROUNDS=$(or $(ROUNDS),300) $(if $(SEED),SEED=$(SEED)) bash tests/integration/agent_kills.sh

.PHONY: soak-registry
soak-registry: $(BUILD)/bin/shoal-registry $(REGISTRY_DRIVERS) ## kill the registry under load (ROUNDS=200 SEED=N)
	$(Q)BUILD=$(BUILD) ROUNDS=$(or $(ROUNDS),200) $(if $(SEED),SEED=$(SEED)) bash tests/integration/registry_kill.sh

# What others wrote and our tests run: an S3 server, Sigstore's own code. Where npm cannot fetch it,
# the tests that need it are skipped and say so.
NODE_TOOLS := $(addprefix build/tools/,s3/fetched sigstore/fetched)
$(NODE_TOOLS): build/tools/%/fetched: tests/tools/%/package.json tests/tools/%/package-lock.json
	@mkdir -p $(@D) && cp $^ $(@D)
	$(call say,NPM,$(@D))
	$(Q)cd $(@D) && if npm ci --ignore-scripts --no-audit --no-fund >npm.log 2>&1; then touch fetched; \
		else echo "  npm could not fetch tests/tools/$*: see $(@D)/npm.log"; fi

.PHONY: bench-registry
bench-registry: $(BUILD)/bin/shoal-registry $(REGISTRY_LOAD) ## measure the registry beside docker-registry and nginx
	$(Q)BUILD=$(BUILD) tests/bench/registry.sh

CHECKS_BENCH := $(BUILD)/bench/checks
$(CHECKS_BENCH): $(call objects,tests/bench/checks.c agent/probe.c agent/probe_console.c agent/console_log.c agent/health_state.c agent/host_client.c agent/host_protocol.c) $(BUILD)/libshoal.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $^ $(PKG_LIBS)
.PHONY: bench-checks
bench-checks: $(CHECKS_BENCH) ## measure what 5,000 health checks a second cost the agent
	$(Q)$(CHECKS_BENCH) $(COUNT)

.PHONY: bench-placement
bench-placement: $(PLACEMENT_BENCH) ## measure what a placement costs on 100 to 10,000 nodes
	$(Q)$(PLACEMENT_BENCH)

.PHONY: bench-agent
bench-agent: all $(BUILD)/bench/boot_clock ## measure the agent beside raw QEMU and virsh: boots, standbys, memory; as root
	$(Q)BUILD=$(BUILD) tests/bench/agent.sh

.PHONY: bench-scheduler
bench-scheduler: all $(SCHEDULER_LOAD) ## measure the scheduler: 100 to 10,000 nodes, a million instances
	$(Q)BUILD=$(BUILD) tests/bench/scheduler.sh

check: all unit $(if $(SAN),,fuzz-build) $(NODE_TOOLS) linux-guests $(FLOOD_GUEST) $(HOST_DRIVER) $(DHCP_PROBE) $(REGISTRY_DRIVERS) $(SCHEDULER_KILLS) $(BUILD)/bench/boot_clock $(REGISTRY_LOAD) $(SCHEDULER_LOAD) ## run the tests without installing anything
	@BUILD=$(BUILD) tests/run $(TESTS)

# Programs are several times as slow under them, and each of the two takes memory of its own.
.PHONY: sanitize
sanitize: export TEST_TIMEOUT ?= 1800
sanitize: ## run the tests under ASan with UBSan, then under TSan (TESTS="agent_ unit/agent")
	@$(MAKE) --no-print-directory SAN=address,undefined check
	@$(MAKE) --no-print-directory SAN=thread check

test: ## install what is missing, build, run every test
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory -j$$(nproc) all unit fuzz-build
	@$(MAKE) --no-print-directory check

demo: ## install what is missing, build, and run the whole story
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@BUILD=$(BUILD) examples/demo.sh

FORMATTED = $(shell git ls-files -co --exclude-standard '*.c' '*.h')
SCRIPTS = $(shell git ls-files -co --exclude-standard '*.sh' '*.make') .ci/run tests/run tests/fuzz/run
lint: ## formatting, layers, static analysis, clang's warnings
	$(call say,LINT,'formatting')
	$(Q)clang-format --dry-run -Werror $(FORMATTED)
	$(call say,LINT,'layers')
	$(Q)tests/lint/layers.sh
	$(call say,LINT,'shell scripts')
	$(Q)shellcheck -x $(SCRIPTS)
	$(call say,LINT,"clang's warnings")
	@$(MAKE) --no-print-directory CC=clang BUILD=$(BUILD)/clang lint-clang
	$(call say,LINT,'cppcheck')
	$(Q)cppcheck --quiet --error-exitcode=1 --inline-suppr --enable=warning,performance,portability \
		--suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches \
		--suppress=internalAstError --std=c11 -I. -j2 -D_GNU_SOURCE \
		--include=tests/lint/cppcheck.h lib image-format registry scheduler agent cli
lint-clang: $(patsubst %.c,$(BUILD)/syntax/%.ok,$(shell git ls-files -co --exclude-standard 'lib/*.c' 'image-format/*.c' 'registry/*.c' 'scheduler/*.c' 'agent/*.c' 'cli/*.c' 'tests/unit/*.c'))
$(BUILD)/syntax/%.ok: %.c
	@mkdir -p $(@D)
	@clang $(CPPFLAGS) -std=c17 $(WARNINGS) -fsyntax-only $(PKG_CFLAGS) $< && touch $@
.PHONY: lint-clang

format: ## format the sources
	clang-format -i $(FORMATTED)

install: all ## install the programs under PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin
	install $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin

# No service is started while packages are installed: policy-rc.d says no, and goes again.
deps: deps-packages deps-user ## install Debian's packages that are missing

# libvirt's QEMU driver does not start without this user, which Debian makes only with the package
# of the whole daemon. Nothing of ours runs as it.
.PHONY: deps-packages deps-user
deps-user:
	@getent passwd libvirt-qemu >/dev/null || { \
		if [ "$$(id -u)" = 0 ]; then as_root=; else as_root=sudo; fi; \
		echo "deps: adding the system user libvirt-qemu"; \
		$$as_root /usr/sbin/useradd --system --user-group --no-create-home \
			--home-dir /nonexistent --shell /usr/sbin/nologin libvirt-qemu; }

deps-packages:
	@node=$$(command -v node >/dev/null && command -v npm >/dev/null || echo $(NODE_PACKAGES)); \
	missing=$$(for p in $(DEBIAN_PACKAGES) $$node; do \
		dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -z "$$missing" ]; then echo "deps: nothing missing"; exit 0; fi; \
	echo "deps: installing" $$missing; \
	if [ "$$(id -u)" = 0 ]; then as_root=; else as_root=sudo; fi; \
	policy=/usr/sbin/policy-rc.d; \
	if [ ! -e $$policy ]; then \
		printf '#!/bin/sh\nexit 101\n' | $$as_root tee $$policy >/dev/null; $$as_root chmod 755 $$policy; \
		trap "$$as_root rm -f $$policy" EXIT; \
	fi; \
	$$as_root apt-get update -qq && \
	$$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing

clean: ## remove everything built
	rm -rf build build-*

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' Makefile examples/build.mk examples/linux/build.mk tests/fuzz/build.mk | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t18

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
