# shellcheck shell=bash
# Counting for test/suite/*: each suite's last line is 'P passed, F failed'. Sourced.

PASSED=0
FAILED=0

passed() { PASSED=$((PASSED + ${1:-1})); }
failed() { FAILED=$((FAILED + ${1:-1})); }

# A whole program as one test; its output is shown.
one_test() {
	local name=$1
	shift
	if "$@"; then echo "ok - $name"; passed; else echo "not ok - $name (exit status $?)"; failed; fi
}

# The number of lines of file $2 that match $1.
count_lines() { grep -cE -e "$1" "$2" || true; }

tally() {
	echo "$PASSED passed, $FAILED failed"
	[ "$FAILED" -eq 0 ] && [ "$PASSED" -gt 0 ]
}
