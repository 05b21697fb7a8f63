#!/bin/bash
# Every fuzzer holds for its seeds and some thousand inputs made of them. `make fuzz` runs longer.
BUILD=${BUILD:-build}
if [ ! -d "$BUILD/fuzz/bin" ]; then
    echo "skip fuzz: the fuzzers are not built here: make fuzz-build"
    exit 0
fi
RUNS=20000 exec "$(dirname "$0")/../fuzz/run" 0
