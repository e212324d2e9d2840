"""Limits of time that hold on a machine of any speed under any load.

No test may fail because other work keeps the processors, so no limit here is one of the clock on the wall.
A second counts as 1/slowness() of one: with 20 runnable processes on 2 processors ten seconds pass as one,
and on a machine half as fast as the reference (VDB_TEST_SLOWNESS=2, measured by run_all) two do.
A stretch in which this process itself did not get to run counts for little.

patience.sh says the same in bash, VdbTest.pm in Perl.
"""

import os
import time

LONGEST_STEP = 5.0              # of one look to the next: more is a machine that stood still


def slowness():
    """How many times longer than on a quiet machine things may take now; at least 1."""
    with open(os.environ.get('VDB_TEST_LOADAVG', '/proc/loadavg')) as f:
        words = f.read().split()
    waiting = max(float(words[0]), float(words[3].split('/')[0]))
    crowd = max(1.0, waiting / len(os.sched_getaffinity(0)))
    return crowd * max(1.0, float(os.environ.get('VDB_TEST_SLOWNESS') or 1))


class Patience:
    """over() once so many seconds of this machine have passed since the start, or since renew()."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.renew()

    def renew(self):
        self.left = self.seconds
        self.last = time.monotonic()

    def over(self):
        now = time.monotonic()
        self.left -= min(now - self.last, LONGEST_STEP) / slowness()
        self.last = now
        return self.left <= 0

    def wait_for(self, condition, pause=0.05):
        """Whether condition() came true in time; it is asked once more at the end."""
        while not condition():
            if self.over():
                return condition()
            time.sleep(pause)
        return True


def joined(thread, seconds):
    """Whether a thread ended in time."""
    def ended():
        thread.join(0.05)
        return not thread.is_alive()
    return Patience(seconds).wait_for(ended, 0)


class Progress:
    """Says from time to time how far a long run is: without a word for long, it would be taken to hang."""

    def __init__(self, every=30):
        self.every = every
        self.said = time.monotonic()

    def __call__(self, text):
        if time.monotonic() - self.said >= self.every:
            self.said = time.monotonic()
            print('   ' + text, flush=True)


def calibrate():
    """This machine beside the one the limits were made for: the time on a processor of a fixed piece of work."""
    begin = time.process_time()
    n = 0
    for i in range(1000000):
        n = (n + i * i) & 0xffff
    return max(1.0, (time.process_time() - begin) / REFERENCE)


REFERENCE = 0.15                # seconds of calibrate() on the reference machine, generously
