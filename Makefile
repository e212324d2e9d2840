# vdb_am: plain PGXS. Besides PGXS's own targets (all, install, installcheck, clean, ...):
#
#   make demo     sets everything up by itself, then shows real data moving through a vdb table
#   make test     sets everything up by itself, then runs every suite; last line: N passed, N failed
#   make bench    vdb beside heap, one file per question (BENCH=... picks some)
#   make soak     long crash and model runs (SOAK_MINUTES, default 20 each)
#   make lint     the house rules that a script can check
#
# Builds outside the source folder work too: make -f SRC/Makefile VPATH=SRC PG_CONFIG=...

MODULE_big = vdb_am
EXTENSION = vdb_am

top := $(if $(VPATH),$(VPATH),.)
SOURCES := $(sort $(wildcard $(top)/src/*.c $(top)/src/*/*.c))
OBJS := $(patsubst $(top)/%.c,%.o,$(SOURCES))
DEPS := $(OBJS:.o=.d)
DATA := $(patsubst $(top)/%,%,$(sort $(wildcard $(top)/sql/install/*.sql)))

# Every sql/*.sql is run; each has its expected output. (test/isolation/run runs the specs: they are
# templates. `make test` runs everything.)
REGRESS := $(sort $(basename $(notdir $(wildcard $(top)/sql/*.sql))))
REGRESS_OPTS = --load-extension=vdb_am

# WERROR= builds with a compiler that knows warnings this one does not.
WERROR ?= -Werror
PG_CPPFLAGS = -I$(top)/src -MMD -MP
PG_CFLAGS = -O2 -Wall -Wextra $(WERROR) -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers
SHLIB_LINK = -lpmem -lzstd
EXTRA_CLEAN = $(DEPS) build

# No LLVM bitcode: it would need clang of the server's version, for code that is never inlined.
override with_llvm = no

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

# The targets that set up by themselves must work before the server's packages are there.
ifneq ($(wildcard $(PGXS)),)
include $(PGXS)
else
all install installcheck clean:
	@echo 'PostgreSQL 15 development files not found (pg_config). Run test/setup.sh, or set PG_CONFIG.' >&2; exit 1
endif

-include $(DEPS)

# In a build outside the source folder, objects need their folders; changed flags need a rebuild.
ifdef VPATH
$(shell mkdir -p $(sort $(dir $(OBJS))))
endif
$(OBJS): $(top)/Makefile

demo:
	@$(top)/test/demo/demo.sh

test:
	@$(top)/test/run_all

bench:
	@$(top)/test/bench/run $(BENCH)

soak:
	@$(top)/test/soak/run

lint:
	@$(top)/test/lint/run

.PHONY: demo test bench soak lint
