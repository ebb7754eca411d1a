# Builds and installs the C library: make install PREFIX=/usr/local [DESTDIR=...]
# Needs cargo and a C compiler. CARGO_TARGET_DIR is honoured; PROFILE=dev takes cargo's debug build.

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
CARGO ?= cargo
CC ?= cc
INSTALL ?= install
PROFILE ?= release

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
MAJOR := $(firstword $(subst ., ,$(VERSION)))
# What programs are bound to, as taskring_check_version has it: while the major version is 0, each minor one is another interface.
ABI := $(MAJOR)$(if $(filter 0,$(MAJOR)),.$(word 2,$(subst ., ,$(VERSION))))
TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(shell $(CARGO) metadata --locked --no-deps --format-version 1 | sed 's|.*"target_directory":"\([^"]*\)".*|\1|'))
BUILD_DIR := $(TARGET_DIR)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
WORK_DIR := $(TARGET_DIR)/install

STATIC := $(BUILD_DIR)/libtaskring.a
SHARED := $(WORK_DIR)/libtaskring.so.$(VERSION)
# What the Rust standard library needs: rustc --print native-static-libs
LIBS := -lgcc_s -lpthread -ldl -lm

.PHONY: all install install-headers uninstall

all: $(SHARED)

$(STATIC): FORCE
	$(CARGO) build --locked --lib --profile $(PROFILE)

.PHONY: FORCE
FORCE:

# Linked from the static library, so that only the symbols of include/taskring.map are seen. It stays loaded once it was: its threads and exit
# hooks outlive a dlclose.
$(SHARED): $(STATIC) include/taskring.map Makefile
	mkdir -p $(WORK_DIR)
	$(CC) -shared -o $@ -Wl,--whole-archive $(STATIC) -Wl,--no-whole-archive -Wl,--version-script=include/taskring.map \
		-Wl,-soname,libtaskring.so.$(ABI) -Wl,-z,nodelete -Wl,-z,relro,-z,now -Wl,--gc-sections $(LIBS)

SUBSTITUTE = sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
	-e 's|@VERSION@|$(VERSION)|' -e 's|@MAJOR@|$(MAJOR)|' -e 's|@ABI@|$(ABI)|' -e 's|@LIBS@|$(LIBS)|'

install-headers:
	$(INSTALL) -d $(DESTDIR)$(INCLUDEDIR)/taskring
	$(INSTALL) -m 644 include/taskring.h bindings/cpp/taskring.hpp $(DESTDIR)$(INCLUDEDIR)/
	$(INSTALL) -m 644 $(wildcard bindings/cpp/taskring/*.hpp) $(DESTDIR)$(INCLUDEDIR)/taskring/

install: $(SHARED) install-headers
	$(INSTALL) -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(LIBDIR)/cmake/taskring
	$(INSTALL) -m 644 $(STATIC) $(DESTDIR)$(LIBDIR)/
	$(INSTALL) -m 755 $(SHARED) $(DESTDIR)$(LIBDIR)/
	ln -sf libtaskring.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libtaskring.so.$(ABI)
	ln -sf libtaskring.so.$(ABI) $(DESTDIR)$(LIBDIR)/libtaskring.so
	$(SUBSTITUTE) bindings/c/taskring.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/taskring.pc
	$(SUBSTITUTE) bindings/c/taskring-config.cmake.in > $(DESTDIR)$(LIBDIR)/cmake/taskring/taskring-config.cmake
	$(SUBSTITUTE) bindings/c/taskring-config-version.cmake.in > $(DESTDIR)$(LIBDIR)/cmake/taskring/taskring-config-version.cmake

uninstall:
	rm -f $(DESTDIR)$(INCLUDEDIR)/taskring.h $(DESTDIR)$(INCLUDEDIR)/taskring.hpp $(DESTDIR)$(LIBDIR)/libtaskring.a
	rm -f $(DESTDIR)$(LIBDIR)/libtaskring.so $(DESTDIR)$(LIBDIR)/libtaskring.so.$(ABI) $(DESTDIR)$(LIBDIR)/libtaskring.so.$(VERSION)
	rm -f $(DESTDIR)$(LIBDIR)/pkgconfig/taskring.pc
	rm -rf $(DESTDIR)$(LIBDIR)/cmake/taskring $(DESTDIR)$(INCLUDEDIR)/taskring
