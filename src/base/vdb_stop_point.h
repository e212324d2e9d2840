/*-------------------------------------------------------------------------
 *
 * vdb_stop_point.h
 *	  Named places where a test can stop, crash or fail a process.
 *
 * VDB_STOP_POINT("name") costs one pointer test unless vdb.stop_point is set (superuser only).
 * Actions by vdb.stop_action: 'wait' sleeps until the setting changes or advisory lock 0x7664 is
 * free (interruptible, not inside critical sections); 'crash' kills the process by SIGKILL at once;
 * 'error' raises an error, 'delay' sleeps up to 20 ms, for a random time (both are ignored inside
 * critical sections).  vdb.stop_point may carry a count 'name:3': act at the third passing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_STOP_POINT_H
#define VDB_STOP_POINT_H

extern char *vdb_stop_point;		/* setting: the name of a stop point */
extern char *vdb_stop_action;		/* setting: wait | crash | error | delay */

/* Act if the setting names this point.  Raises an error only if the setting asks for it. */
extern void vdb_stop_point_reached(const char *name);

/* Reset the count of passings when the setting was assigned (for vdb_guc.c). */
extern void vdb_stop_point_changed(void);

#define VDB_STOP_POINT(name) \
	do { \
		if (vdb_stop_point != NULL && vdb_stop_point[0] != '\0') \
			vdb_stop_point_reached(name); \
	} while (0)

#endif							/* VDB_STOP_POINT_H */
