/* What rules must see: compiled by nothing. */
typedef struct LowPlace
{
	int			number;
} LowPlace;

extern int	low_used(LowPlace *place);
extern int	low_unused(void);
extern int	low_undefined(void);
