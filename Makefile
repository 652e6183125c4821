# SPDX-License-Identifier: GPL-2.0-or-later
#
# One Makefile for all.  `make` builds the helper, the command line and the
# module for the running kernel or, where its headers are not installed, for
# the kernel that scripts/vm boots.
#
#	make run	the demonstration: nginx speaks TLS through the kernel
#	make test	unit tests, the VM suite on Linux 6.1, its core on 6.12 and 7.3
#	make test-all	the whole VM suite on each kernel
#	make test-debug	the whole VM suite on a kernel with KASAN, lockdep and kmemleak
#	make test-kcsan	the whole VM suite on a kernel that looks for data races
#	make coverage	likewise, and which lines of the module the suite reached
#	make stress	everything at once, for STRESS=600 seconds
#	make cost	what a request, a handshake and an idle connection cost, in instructions
#	make cost-profile FIGURE="get 100 B"	where they go
#	make bench	engine beside engine: throughput, latency, processor time; BENCH="--dev eth1 --peer HOST"
#	make bench-quick	likewise, in ten minutes at most once it is built
#	make check	static checks and sanitizers
#	make kmod-all	the module for every kernel that scripts/kbuild knows
#	make start, make stop	module and helper from the build tree
#	make install	DESTDIR=, prefix=, KVER=

# Not the first rule, which may be one of the library.
.DEFAULT_GOAL := all

KERNEL ?= 6.1
prefix ?= /usr
sbindir ?= $(prefix)/sbin
mandir ?= $(prefix)/share/man
includedir ?= $(prefix)/include
libdir ?= $(prefix)/lib
libexecdir ?= $(prefix)/libexec
pythondir ?= $(prefix)/lib/python3/dist-packages
unitdir ?= $(prefix)/lib/systemd/system
sysusersdir ?= $(prefix)/lib/sysusers.d
completiondir ?= $(prefix)/share/bash-completion/completions
KVER ?= $(shell uname -r)
moduledir ?= /lib/modules/$(KVER)/updates
DESTDIR ?=

# Everything that is made for one Debian release: scripts/vm sets another for a guest of another one.
BUILD ?= build
B := $(BUILD)/userspace
CC ?= gcc
CFLAGS ?= -O2 -g
WARN := -Wall -Wextra -Werror -Wmissing-prototypes -Wno-unused-parameter
BASE_CFLAGS = -std=gnu11 $(CFLAGS) $(WARN) -Iinclude/uapi -Iuserspace -MMD -MP

# wolfSSL: "built" here from source (scripts/wolfssl), or the package of the "system".
WOLFSSL ?= built
ifeq ($(WOLFSSL),built)
ifndef WOLFSSL_PREFIX
WOLFSSL_PREFIX := $(shell scripts/wolfssl --prefix)
endif
WOLFSSL_LIBRARY := $(WOLFSSL_PREFIX)/lib/libwolfssl.a
WOLFSSL_CFLAGS := -I$(WOLFSSL_PREFIX)/include
WOLFSSL_LIBS := $(WOLFSSL_LIBRARY) -lm
$(WOLFSSL_LIBRARY):
	@scripts/wolfssl >/dev/null
else ifeq ($(WOLFSSL),system)
WOLFSSL_CFLAGS := $(shell pkg-config --cflags wolfssl)
WOLFSSL_LIBS := $(shell pkg-config --libs wolfssl)
else
$(error WOLFSSL is "built" or "system", not "$(WOLFSSL)")
endif

include userspace/tlsportd/Makefile.inc
include userspace/tlsportctl/Makefile.inc
include tests/vm/uring/Makefile.inc
include tests/cost/Makefile.inc
include bench/Makefile.inc
include lib/Makefile.inc

PROGRAMS := tlsportd tlsportctl
TEST_PROGRAMS := uring
BENCH_PROGRAMS := load wolfserve
UNIT_TESTS := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))
ASAN := -fsanitize=address,undefined -fno-sanitize-recover=all

.PHONY: all userspace test-programs kmod kmod-all unit run test test-all test-debug test-kcsan coverage stress cost cost-check cost-profile bench bench-quick bench-programs check start stop install uninstall clean FORCE

all: userspace kmod
userspace: $(PROGRAMS:%=$(B)/%) $(LIBRARY)
# For this machine's own release alone: the tree of another has no JDK and the like.
COMPILED_SERVERS := HttpJava.class http_go http_rust
NATIVE_PROGRAMS = $(COMPILED_SERVERS:%=$(B)/%) bench-programs
GO = $(firstword $(shell command -v go) /usr/lib/go-1.19/bin/go)
# Debian's: since 1.70 or so io::copy() of a file to a socket is no sendfile().
RUSTC = $(firstword $(wildcard /usr/bin/rustc) rustc)
test-programs: $(TEST_PROGRAMS:%=$(B)/%) $(if $(filter build,$(BUILD)),$(NATIVE_PROGRAMS))
$(B)/%.class: tests/vm/programs/%.java
	@mkdir -p $(@D)
	javac -Xlint:all -Werror -d $(@D) $<
$(B)/%: tests/vm/programs/%.go
	@mkdir -p $(@D)
	GOCACHE=$(CURDIR)/$(BUILD)/go GOFLAGS=-mod=mod CGO_ENABLED=0 $(GO) build -o $@ $<
$(B)/%: tests/vm/programs/%.rs
	@mkdir -p $(@D)
	env -u MAKEFLAGS -u MFLAGS $(RUSTC) -O -D warnings -o $@ $<

# Objects are made anew when the library is another one.
$(BUILD)/.wolfssl: $(WOLFSSL_LIBRARY) FORCE
	@mkdir -p $(@D)
	@echo "$(WOLFSSL_CFLAGS) $(WOLFSSL_LIBS)" | cmp -s - $@ || echo "$(WOLFSSL_CFLAGS) $(WOLFSSL_LIBS)" >$@
FORCE:

# program NAME, DIRECTORY of its objects, extra flags: the objects of a program
# are its own, for its flags are
define program
$(1)_OBJS := $$(patsubst %.c,$(2)/$(1).d/%.o,$$($(1)_SRCS))
$(2)/$(1): $$($(1)_OBJS)
	$$(CC) $$(CFLAGS) $(3) $$(LDFLAGS) -o $$@ $$^ $$($(1)_LIBS)
$(2)/$(1).d/%.o: %.c $(BUILD)/.wolfssl
	@mkdir -p $$(@D)
	$$(CC) $$(BASE_CFLAGS) $(3) $$($(1)_CFLAGS) -c -o $$@ $$<
-include $$($(1)_OBJS:.o=.d)
endef

$(foreach p,$(PROGRAMS) $(TEST_PROGRAMS),$(eval $(call program,$(p),$(B))))
$(eval $(call program,cost,$(BUILD)/cost))
$(foreach p,$(BENCH_PROGRAMS),$(eval $(call program,$(p),$(BUILD)/bench)))
$(foreach p,$(UNIT_TESTS),$(eval $(call program,$(p),$(BUILD)/unit)))
$(foreach p,$(UNIT_TESTS),$(eval $(call program,$(p),$(BUILD)/asan,$(ASAN))))

$(foreach d,unit asan,$(foreach t,test_ctl test_ctl_certificates,$(BUILD)/$(d)/$(t).d/userspace/tlsportctl/main.o)): \
	test_ctl_CFLAGS += $(test_ctl_MAIN_CFLAGS)

# The VM kernel's module comes from scripts/kbuild, with its own cached headers.
kmod:
	@if [ -d /lib/modules/$(KVER)/build ]; then \
		mkdir -p build/kmod/$(KVER) build/kmod-native && \
		rsync -a kmod include build/kmod-native/ && \
		$(MAKE) -C /lib/modules/$(KVER)/build M=$(CURDIR)/build/kmod-native/kmod modules && \
		cp build/kmod-native/kmod/tlsport.ko build/kmod/$(KVER)/; \
	else \
		scripts/kbuild -k $(KERNEL); \
	fi

# Every kernel that the source is held to, and arm64.
kmod-all:
	@set -e; for kernel in $$(scripts/kbuild --list); do scripts/kbuild -k $$kernel; done

# The server of the benchmark is built with the wolfSSL that it is measured with.
UNIT_BENCH = $(BUILD)/bench/load $(if $(filter built,$(WOLFSSL)),$(BUILD)/bench/wolfserve)
unit: $(UNIT_TESTS:%=$(BUILD)/unit/%) $(UNIT_BENCH) userspace
	@tests/unit/run $(BUILD)/unit $(UNIT_TESTS)

test:
	@tests/run

test-all:
	@tests/run --all

test-debug:
	@tests/run --debug

test-kcsan:
	@tests/run --kcsan

coverage:
	@tests/run --coverage

run:
	@scripts/run

# How long, in seconds
STRESS ?= 600
stress:
	@TLSPORT_TEST_STRESS=$(STRESS) KERNELS=$(KERNEL) TESTS=stress tests/run

# FIGURE chooses, as an extended regular expression; VERSION is 1.2 or 1.3.
FIGURE ?=
VERSION ?= 1.3
cost: userspace $(BUILD)/cost/cost
	@TLSPORT_COST="$(FIGURE)" TLSPORT_COST_VERSION=$(VERSION) scripts/vm -k $(KERNEL) --icount -t 3600 -s -- tests/cost/run

# Within the limits that tests/cost/run has.
cost-check: userspace $(BUILD)/cost/cost
	@scripts/vm -k 6.1 --icount -t 1800 -s -- tests/cost/run --check

cost-profile: userspace $(BUILD)/cost/cost $(BUILD)/cost/blocks.so
	@tests/cost/profile $(KERNEL) $(VERSION) "$(FIGURE)" $(ENGINES)

# Words for bench/tlsport-bench.
BENCH ?=
bench-programs: $(BENCH_PROGRAMS:%=$(BUILD)/bench/%)
bench: userspace bench-programs
	@KERNEL=$(KERNEL) scripts/bench $(BENCH)

bench-quick: userspace bench-programs
	@KERNEL=$(KERNEL) scripts/bench --quick $(BENCH)

check:
	@scripts/check

start:
	@scripts/start

stop:
	@scripts/stop

INSTALL ?= install
MODULE := build/kmod/$(KVER)/tlsport.ko
# MODE:SOURCE:DESTINATION of whatever is installed.
FILES = $(foreach p,$(PROGRAMS),755:$(B)/$(p):$(sbindir)/$(p)) \
	$(foreach m,$(wildcard Documentation/man/*.[58]),644:$(m):$(mandir)/man$(subst .,,$(suffix $(m)))/$(notdir $(m))) \
	$(foreach h,tlsport.h tlsport_reason.h tlsport_sw.h tlsport_sockopt.h,644:include/uapi/linux/$(h):$(includedir)/linux/$(h)) \
	644:lib/tlsport.h:$(includedir)/tlsport.h \
	755:$(LIBRARY):$(libdir)/libtlsport.so.0 \
	644:lib/tlsport.py:$(pythondir)/tlsport.py \
	755:scripts/deploy-hook:$(libexecdir)/tlsport/deploy-hook \
	644:userspace/tlsportctl/completion.bash:$(completiondir)/tlsportctl \
	644:$(B)/tlsport.service:$(unitdir)/tlsport.service \
	644:$(B)/tlsport@.service:$(unitdir)/tlsport@.service \
	644:systemd/tlsport.sysusers:$(sysusersdir)/tlsport.conf \
	644:$(MODULE):$(moduledir)/tlsport.ko
part = $(word $(1),$(subst :, ,$(2)))
define install_file
	$(INSTALL) -D -m $(call part,1,$(1)) $(call part,2,$(1)) $(DESTDIR)$(call part,3,$(1))

endef

# The system's own view of what came and went; a DESTDIR is somebody else's to finish.
define refresh
	@[ -n "$(DESTDIR)" ] || depmod $(KVER)
	@[ -n "$(DESTDIR)" ] || ! [ -d /run/systemd/system ] || systemctl daemon-reload
	@[ -n "$(DESTDIR)" ] || ! [ -f $(sysusersdir)/tlsport.conf ] || ! command -v systemd-sysusers >/dev/null || \
		systemd-sysusers $(sysusersdir)/tlsport.conf
endef

install: userspace
	@[ -f $(MODULE) ] || { echo "no module for Linux $(KVER) was built: install its headers and run 'make kmod'" >&2; exit 1; }
	sed 's,@sbindir@,$(sbindir),g' systemd/tlsport.service >$(B)/tlsport.service
	sed -f systemd/netns.sed $(B)/tlsport.service >$(B)/tlsport@.service
	$(foreach f,$(FILES),$(call install_file,$(f)))
	ln -sf libtlsport.so.0 $(DESTDIR)$(libdir)/libtlsport.so
	$(INSTALL) -d $(DESTDIR)/etc/tlsport/ports.d
	$(refresh)

# What an administrator wrote under /etc/tlsport stays.
uninstall:
	@[ -n "$(DESTDIR)" ] || ! [ -d /run/systemd/system ] || systemctl disable --now tlsport
	rm -f $(foreach f,$(FILES),$(DESTDIR)$(call part,3,$(f))) $(DESTDIR)$(libdir)/libtlsport.so
	@for dir in $(moduledir) $(libexecdir)/tlsport /etc/tlsport/ports.d /etc/tlsport; do \
		! [ -d $(DESTDIR)$$dir ] || rmdir --ignore-fail-on-non-empty $(DESTDIR)$$dir; \
	done
	$(refresh)
	@[ -n "$(DESTDIR)" ] || ! [ -d /sys/module/tlsport ] || \
		echo "the module stays loaded until 'rmmod tlsport': its ports stay closed to plaintext"

clean:
	rm -rf build
