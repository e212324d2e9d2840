# shellcheck shell=bash
# Limits of time that hold on a machine of any speed under any load: see patience.py. Sourced, not run.
#
#   slowness                      how many times longer than on a quiet machine things may take now: a whole number from 1 up
#   patient SECONDS COMMAND...    repeats COMMAND until it succeeds; fails when so many seconds of this machine have passed
#   in_time SECONDS COMMAND...    COMMAND, ended like timeout(1) does after so many seconds of this machine
#                                 as slow as it is now

slowness() {
	local load running cpus waiting
	read -r load _ _ running _ <"${VDB_TEST_LOADAVG:-/proc/loadavg}"
	cpus=$(nproc)
	waiting=$((10#${load%.*} + 1)) running=${running%%/*}
	[ "$running" -le "$waiting" ] || waiting=$running
	waiting=$(((waiting + cpus - 1) / cpus)) load=${VDB_TEST_SLOWNESS:-1}
	echo $(((waiting > 1 ? waiting : 1) * (10#${load%.*} > 1 ? 10#${load%.*} : 1)))
}

patient() {
	local left=$(($1 * 1000000)) last now step
	shift
	last=${EPOCHREALTIME/[.,]/}
	until "$@"; do
		sleep 0.05
		now=${EPOCHREALTIME/[.,]/} step=0
		step=$((now - last)) last=$now
		[ $step -ge 0 ] && [ $step -lt 5000000 ] || step=5000000	# the clock was set, or the machine stood still
		left=$((left - step / $(slowness)))
		[ $left -gt 0 ] || return 1
	done
}

in_time() {
	local seconds=$1
	shift
	timeout $((seconds * $(slowness))) "$@"
}
