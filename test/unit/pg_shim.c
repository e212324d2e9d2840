/*
 * pg_shim.c
 *	  See pg_shim.h.
 */
#include "pg_shim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

VdbShared  *vdb_shared;
char	   *vdb_stop_point;
char	   *vdb_stop_action;
volatile sig_atomic_t InterruptPending;
volatile uint32 InterruptHoldoffCount;
sigjmp_buf *PG_exception_stack;
ErrorContextCallback *error_context_stack;
int			shim_sqlstate;
char		shim_message[1024];

#define MAX_HELD	200
static LWLock *held[MAX_HELD];
static LWLockMode held_mode[MAX_HELD];
static int	nheld;

extern void vdb_stop_point_reached(const char *name);

void
vdb_stop_point_reached(const char *name)
{
}

void
ProcessInterrupts(void)
{
}

void
pg_usleep(long microsec)
{
}

/* Time stands still. */
TimestampTz
GetCurrentTimestamp(void)
{
	return 0;
}

void
ExceptionalCondition(const char *conditionName, const char *errorType,
					 const char *fileName, int lineNumber)
{
	fprintf(stderr, "assertion failed: %s (%s:%d)\n", conditionName, fileName, lineNumber);
	abort();
}

/* ---- locks ---- */

/* Position in the lock order: block locks by number, then any one map lock. */
static int
lock_rank(LWLock *lock)
{
	for (int i = 0; i < VDB_BLOCK_LOCKS; i++)
		if (lock == &vdb_shared->block_locks[i].lock)
			return i;
	return VDB_BLOCK_LOCKS;
}

bool
LWLockAcquire(LWLock *lock, LWLockMode mode)
{
	for (int i = 0; i < nheld; i++)
		if (lock_rank(held[i]) >= lock_rank(lock))
		{
			fprintf(stderr, "lock of rank %d taken while one of rank %d is held\n",
					lock_rank(lock), lock_rank(held[i]));
			abort();
		}
	if (nheld == MAX_HELD)
		abort();
	held[nheld] = lock;
	held_mode[nheld++] = mode;
	return true;
}

void
LWLockRelease(LWLock *lock)
{
	for (int i = 0; i < nheld; i++)
		if (held[i] == lock)
		{
			nheld--;
			held[i] = held[nheld];
			held_mode[i] = held_mode[nheld];
			return;
		}
	fprintf(stderr, "lock released that isn't held\n");
	abort();
}

bool
LWLockHeldByMeInMode(LWLock *lock, LWLockMode mode)
{
	for (int i = 0; i < nheld; i++)
		if (held[i] == lock && held_mode[i] == mode)
			return true;
	return false;
}

void
shim_forget_locks(void)
{
	nheld = 0;
}

int
shim_locks_held(void)
{
	return nheld;
}

/* ---- errors ---- */

bool
errstart(int elevel, const char *domain)
{
	shim_sqlstate = ERRCODE_INTERNAL_ERROR;
	return elevel >= ERROR;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return errstart(elevel, domain);
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	pg_re_throw();
}

void
pg_re_throw(void)
{
	if (PG_exception_stack == NULL)
	{
		fprintf(stderr, "uncaught error: %s\n", shim_message);
		abort();
	}
	siglongjmp(*PG_exception_stack, 1);
}

int
errcode(int sqlerrcode)
{
	shim_sqlstate = sqlerrcode;
	return 0;
}

static int
set_message(const char *fmt, va_list args)
{
	vsnprintf(shim_message, sizeof(shim_message), fmt, args);
	return 0;
}

int
errmsg(const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	set_message(fmt, args);
	va_end(args);
	return 0;
}

int
errmsg_internal(const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	set_message(fmt, args);
	va_end(args);
	return 0;
}

int
errdetail(const char *fmt,...)
{
	return 0;
}

int
errhint(const char *fmt,...)
{
	return 0;
}

bool
shim_catches(void (*body) (void *), void *arg)
{
	volatile bool caught = false;

	PG_TRY();
	{
		body(arg);
	}
	PG_CATCH();
	{
		caught = true;
	}
	PG_END_TRY();
	if (caught)
		shim_forget_locks();
	return caught;
}

/* ---- memory and library ---- */

/* What an error or a simulated crash leaves behind, a memory context would free. */
extern const char *__asan_default_options(void);

const char *
__asan_default_options(void)
{
	return "detect_leaks=0";
}

FullTransactionId shim_next_xid = {1000};

FullTransactionId
ReadNextFullTransactionId(void)
{
	return shim_next_xid;
}

void *
palloc(Size size)
{
	return malloc(size);
}

void *
palloc0(Size size)
{
	return calloc(1, size);
}

void *
repalloc(void *pointer, Size size)
{
	return realloc(pointer, size);
}

void
pfree(void *pointer)
{
	free(pointer);
}

void
pg_qsort(void *base, size_t nel, size_t elsize, int (*cmp) (const void *, const void *))
{
#undef qsort
	qsort(base, nel, elsize, cmp);
}

#undef snprintf
#undef vsnprintf
int
pg_vsnprintf(char *str, size_t count, const char *fmt, va_list args)
{
	return vsnprintf(str, count, fmt, args);
}

int
pg_snprintf(char *str, size_t count, const char *fmt,...)
{
	va_list		args;
	int			n;

	va_start(args, fmt);
	n = vsnprintf(str, count, fmt, args);
	va_end(args);
	return n;
}

void
shim_init(void)
{
	vdb_shared = calloc(1, sizeof(VdbShared));
	vdb_shared->block_locks = calloc(VDB_BLOCK_LOCKS, sizeof(LWLockPadded));
	vdb_shared->map_locks = calloc(VDB_MAP_LOCKS, sizeof(LWLockPadded));
}
