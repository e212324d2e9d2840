/*-------------------------------------------------------------------------
 *
 * exec_kernel_impl.h
 *	  Template of one kernel's loops; exec_kernel.c includes it once per kernel.
 *
 * The includer defines KERNEL (the kernel's name), STATE (the type of its state) and
 * STEP(s, datum), which adds one value that is not null to the state s (a pointer).
 *
 * There are two loops: one for rows of many groups, and one for rows of one group, whose state
 * stays in registers.
 *
 *-------------------------------------------------------------------------
 */

/* Add rows at[0..n); the state of row i is at states[i] + offset. */
static void
CppConcat2(KERNEL, _add) (char **states, Size offset, const VdbInput *input, const uint16 *at,
						  int n)
{
	for (int i = 0; i < n; i++)
	{
		STATE	   *s = (STATE *) (states[i] + offset);

		if (!input->nulls[at[i]])
			STEP(s, input->values[at[i]]);
	}
}

/* Add rows at[0..n), all to one state. */
static void
CppConcat2(KERNEL, _add_one) (char *state, const VdbInput *input, const uint16 *at, int n)
{
	STATE		local = *(STATE *) state;
	STATE	   *s = &local;

	for (int i = 0; i < n; i++)
	{
		if (!input->nulls[at[i]])
			STEP(s, input->values[at[i]]);
	}
	*(STATE *) state = local;
}

#undef KERNEL
#undef STATE
#undef STEP
