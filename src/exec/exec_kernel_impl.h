/*-------------------------------------------------------------------------
 *
 * exec_kernel_impl.h
 *	  One kernel's loops; included once per kernel by exec_kernel.c.
 *
 * Before including: KERNEL names it, STATE is the type of its state,
 * STEP(s, datum) takes one value that is not null into the state s (a pointer).
 *
 * Two loops: for rows of many groups, and for rows of one group, whose state
 * stays in registers.
 *
 *-------------------------------------------------------------------------
 */

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
