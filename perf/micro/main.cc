// Micro-benchmarks of single parts, one file a part. Google Benchmark's options apply (--help).
#include <benchmark/benchmark.h>

BENCHMARK_MAIN();
