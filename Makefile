# SPDX-License-Identifier: GPL-2.0-or-later
#
# One Makefile for all.  `make` builds the helper, the command line and the
# module for the running kernel or, where its headers are not installed, for
# the kernel that scripts/vm boots.
#
#	make run	the demonstration: nginx speaks TLS through the kernel
#	make test	unit tests, then the VM suite on Linux 6.1
#	make check	static checks and sanitizers
#	make kmod-all	the module for every kernel that scripts/kbuild knows
#	make start, make stop	module and helper from the build tree
#	make install	DESTDIR=, prefix=, KVER=

KERNEL ?= 6.1
prefix ?= /usr
sbindir ?= $(prefix)/sbin
mandir ?= $(prefix)/share/man
includedir ?= $(prefix)/include
unitdir ?= /lib/systemd/system
sysconfdir ?= /etc
completiondir ?= $(prefix)/share/bash-completion/completions
KVER ?= $(shell uname -r)
DESTDIR ?=

# Everything that is made for one Debian release: scripts/vm sets another for a guest of another one.
BUILD ?= build
B := $(BUILD)/userspace
CC ?= gcc
CFLAGS ?= -O2 -g
WARN := -Wall -Wextra -Werror -Wmissing-prototypes -Wno-unused-parameter
BASE_CFLAGS = -std=gnu11 $(CFLAGS) $(WARN) -Iinclude/uapi -Iuserspace -MMD -MP

include userspace/tlsportd/Makefile.inc
include userspace/tlsportctl/Makefile.inc

PROGRAMS := tlsportd tlsportctl
UNIT_TESTS := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))
ASAN := -fsanitize=address,undefined -fno-sanitize-recover=all

.PHONY: all userspace kmod kmod-all unit run test check start stop install uninstall clean

all: userspace kmod
userspace: $(PROGRAMS:%=$(B)/%)

# program NAME, DIRECTORY of its objects, extra flags: the objects of a program
# are its own, for its flags are
define program
$(1)_OBJS := $$(patsubst %.c,$(2)/$(1).d/%.o,$$($(1)_SRCS))
$(2)/$(1): $$($(1)_OBJS)
	$$(CC) $$(CFLAGS) $(3) $$(LDFLAGS) -o $$@ $$^ $$($(1)_LIBS)
$(2)/$(1).d/%.o: %.c
	@mkdir -p $$(@D)
	$$(CC) $$(BASE_CFLAGS) $(3) $$($(1)_CFLAGS) -c -o $$@ $$<
-include $$($(1)_OBJS:.o=.d)
endef

$(foreach p,$(PROGRAMS),$(eval $(call program,$(p),$(B))))
$(foreach p,$(UNIT_TESTS),$(eval $(call program,$(p),$(BUILD)/unit)))
$(foreach p,$(UNIT_TESTS),$(eval $(call program,$(p),$(BUILD)/asan,$(ASAN))))

$(BUILD)/unit/test_ctl.d/userspace/tlsportctl/main.o $(BUILD)/asan/test_ctl.d/userspace/tlsportctl/main.o: \
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

unit: $(UNIT_TESTS:%=$(BUILD)/unit/%) userspace
	@tests/unit/run $(BUILD)/unit $(UNIT_TESTS)

test:
	@tests/run

run:
	@scripts/run

check:
	@scripts/check

start:
	@scripts/start

stop:
	@scripts/stop

INSTALL ?= install
install: userspace
	$(INSTALL) -d $(DESTDIR)$(sbindir) $(DESTDIR)$(mandir)/man8 $(DESTDIR)$(mandir)/man5 \
		$(DESTDIR)$(includedir)/linux $(DESTDIR)$(unitdir) $(DESTDIR)$(sysconfdir)/tlsport/ports.d \
		$(DESTDIR)$(completiondir)
	$(INSTALL) -m 755 $(PROGRAMS:%=$(B)/%) $(DESTDIR)$(sbindir)
	$(INSTALL) -m 644 Documentation/man/*.8 $(DESTDIR)$(mandir)/man8
	$(INSTALL) -m 644 Documentation/man/*.5 $(DESTDIR)$(mandir)/man5
	$(INSTALL) -m 644 include/uapi/linux/tlsport.h include/uapi/linux/tlsport_reason.h $(DESTDIR)$(includedir)/linux
	$(INSTALL) -m 644 userspace/tlsportctl/completion.bash $(DESTDIR)$(completiondir)/tlsportctl
	sed 's,@sbindir@,$(sbindir),g' systemd/tlsport.service > $(DESTDIR)$(unitdir)/tlsport.service
	@if [ -f build/kmod/$(KVER)/tlsport.ko ]; then \
		$(INSTALL) -D -m 644 build/kmod/$(KVER)/tlsport.ko $(DESTDIR)/lib/modules/$(KVER)/updates/tlsport.ko && \
		{ [ -n "$(DESTDIR)" ] || depmod $(KVER); }; \
	else \
		echo "no module for Linux $(KVER) was built: install its headers and run 'make kmod'" >&2; exit 1; \
	fi

uninstall:
	rm -f $(PROGRAMS:%=$(DESTDIR)$(sbindir)/%) $(DESTDIR)$(unitdir)/tlsport.service \
		$(DESTDIR)$(completiondir)/tlsportctl $(DESTDIR)$(includedir)/linux/tlsport.h \
		$(DESTDIR)$(includedir)/linux/tlsport_reason.h $(DESTDIR)$(mandir)/man8/tlsportctl.8 \
		$(DESTDIR)$(mandir)/man8/tlsportd.8 $(DESTDIR)$(mandir)/man5/tlsport.conf.5 \
		$(DESTDIR)/lib/modules/$(KVER)/updates/tlsport.ko
	@[ -n "$(DESTDIR)" ] || depmod $(KVER)

clean:
	rm -rf build
