#include "low/low.h"

/* Calls low_gone(), and low_used in the other file; low_vanished_name is no more.  EvalPlanQual is the server's. */
int
low_unused(void)
{
	VDB_STOP_POINT("low_one_reached");
	VDB_STOP_POINT("low-twice");
    return low_used(NULL);
}

static int
same_name(void)
{
	return 1;
}

int			low_counter = 0;
