/* What test/lint/under_lock must see: compiled by no process. */
static void
warn(void)
{
	if (errno != 0)
		ereport(WARNING, (errmsg("no")));
}

static void
take(void)
{
	LWLockAcquire(lock, LW_SHARED);
}

bool
sample(int n)
{
	take();
	if (n == 0)
	{
		LWLockRelease(lock);
		return false;
	}
	warn();
	SearchSysCache1(RELOID, n);
	palloc(n * sizeof(int));
	palloc(sizeof(int) * 8);
	x->callback(n);
	ReadBuffer(rel, n);
	LWLockRelease(lock);
	lookup_type_cache(n, 0);
	return true;
}
