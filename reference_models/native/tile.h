// What the kernels share: vectors of 8 floats and the tile of a matrix product.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <immintrin.h>
#include <torch/library.h>

#include <algorithm>
#include <optional>
#include <cmath>
#include <cstring>
#include <tuple>
#include <vector>

at::Tensor demodulation(const at::Tensor& weight, const at::Tensor& styles, double epsilon);
at::Tensor pack(const at::Tensor& matrix, const std::optional<at::Tensor>& scale, double factor);
std::tuple<at::Tensor, at::Tensor> pack_keys(const at::Tensor& keys, int64_t heads);

namespace {

#define INLINE inline __attribute__((always_inline))

constexpr int64_t LANES = 8;
constexpr int64_t ROWS = 6;    // of a tile
constexpr int64_t PANEL = 16;  // columns of a tile

using vec = __m256;

INLINE vec load(const float* p) { return _mm256_loadu_ps(p); }
INLINE void store(float* p, vec v) { _mm256_storeu_ps(p, v); }
INLINE vec all(float x) { return _mm256_set1_ps(x); }
// With a NaN among the two, the second is returned: the data come second, and NaN stays NaN.
INLINE vec larger(vec a, vec b) { return _mm256_max_ps(a, b); }
INLINE vec smaller(vec a, vec b) { return _mm256_min_ps(a, b); }

INLINE float total(vec v) {
  alignas(32) float x[LANES];
  _mm256_store_ps(x, v);
  return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

// acc[r] += sum_d a[r * stride + d] b[d * b_stride ..]
INLINE void accumulate(vec (&acc)[ROWS][2], const float* a, int64_t stride, const float* b,
                       int64_t depth, int64_t b_stride = PANEL) {
#pragma GCC unroll 2
  for (int64_t d = 0; d < depth; ++d) {
    const vec b0 = load(b + d * b_stride), b1 = load(b + d * b_stride + LANES);
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; ++r) {
      const vec x = all(a[r * stride + d]);
      acc[r][0] = _mm256_fmadd_ps(x, b0, acc[r][0]);
      acc[r][1] = _mm256_fmadd_ps(x, b1, acc[r][1]);
    }
  }
}

INLINE int64_t panels(int64_t columns) { return (columns + PANEL - 1) / PANEL; }

INLINE bool is_matrix(const at::Tensor& x, int64_t batch, int64_t columns) {
  return x.dim() == 3 && x.size(0) == batch && x.size(2) == columns && x.is_cpu() &&
         x.scalar_type() == at::kFloat && x.stride(2) == 1 && x.stride(1) == columns;
}

INLINE bool is_vectors(const at::Tensor& x, int64_t batch, int64_t columns) {
  return x.dim() == 2 && x.size(0) == batch && x.size(1) == columns && x.is_cpu() &&
         x.scalar_type() == at::kFloat && x.is_contiguous();
}

}  // namespace
