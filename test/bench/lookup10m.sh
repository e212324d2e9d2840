#!/usr/bin/env bash
# lookup.sh among 10,000,000 events (BENCH_MANY). (goal: 0.8 of heap)
BENCH_EVENTS=${BENCH_MANY:-10000000} exec "$(dirname "$0")/lookup.sh"
