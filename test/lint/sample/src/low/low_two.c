#include "low/low.h"

static int
same_name(void)
{
	return 2;
}

int
low_used(LowPlace *place)
{
	VDB_STOP_POINT("low-twice");
	low_counter++; 
	place->number = 1;
	place->number = 2;
	place->number = 3;
	return same_name();
}
