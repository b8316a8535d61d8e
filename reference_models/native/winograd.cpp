// The tiles of F(2x2, 3x3), moved once: reference_models/winograd.py does the same with torch's
// operations, in the same order of additions, so results are equal to the bit.
#include "tile.h"

namespace {

constexpr int64_t TILES = 16;
constexpr int64_t GRAIN = 8;  // tiles that a thread takes at least

// B^T d along one axis
INLINE void differences(const vec (&d)[4], vec (&out)[4]) {
  out[0] = _mm256_sub_ps(d[0], d[2]);
  out[1] = _mm256_add_ps(d[1], d[2]);
  out[2] = _mm256_sub_ps(d[2], d[1]);
  out[3] = _mm256_sub_ps(d[1], d[3]);
}

// A^T m along one axis
INLINE void sums(const vec (&m)[4], vec (&out)[2]) {
  out[0] = _mm256_add_ps(_mm256_add_ps(m[0], m[1]), m[2]);
  out[1] = _mm256_sub_ps(_mm256_sub_ps(m[1], m[2]), m[3]);
}

// A g along one axis
INLINE void spread_out(const vec (&g)[2], vec (&out)[4]) {
  out[0] = g[0];
  out[1] = _mm256_add_ps(g[0], g[1]);
  out[2] = _mm256_sub_ps(g[0], g[1]);
  out[3] = _mm256_sub_ps(_mm256_setzero_ps(), g[1]);
}

void check_map(const at::Tensor& x, int64_t top, int64_t bottom) {
  TORCH_CHECK(x.dim() == 4 && x.is_cpu() && x.scalar_type() == at::kFloat && x.stride(3) == 1,
              "the map must be [batch, height, width, channels], float32, channels last");
  TORCH_CHECK(x.size(3) >= LANES && x.size(2) % 2 == 0, "8 channels or more, an even width");
  TORCH_CHECK(0 <= top && top <= bottom && bottom <= x.size(1) && (bottom - top) % 2 == 0,
              "the rows must be an even number of those of the map");
}

// Calls `work(image, row, column, tile)` for all 2x2 tiles of these rows; rows count from `top`.
template <typename Work>
void each_tile(const at::Tensor& x, int64_t top, int64_t bottom, const Work& work) {
  const int64_t down = (bottom - top) / 2, across = x.size(2) / 2;
  at::parallel_for(0, x.size(0) * down * across, GRAIN, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t line = tile / across;
      work(line / down, top + 2 * (line % down), 2 * (tile % across), tile);
    }
  });
}

int64_t count(const at::Tensor& x, int64_t top, int64_t bottom) {
  return x.size(0) * ((bottom - top) / 2) * (x.size(2) / 2);
}

// Calls `work(c)` for each 8 channels; the last 8 overlap those before them where they have to.
template <typename Work>
INLINE void each_lanes(int64_t channels, const Work& work) {
  for (int64_t c = 0; c < channels; c += LANES) work(std::min(c, channels - LANES));
}

}  // namespace

// B^T d B [16, tiles, channels] of the 4x4 tiles that belong to the pixels of these rows of
// x [batch, height, width, channels]; beyond the map it is zero.
at::Tensor winograd_tiles(const at::Tensor& x, int64_t top, int64_t bottom) {
  check_map(x, top, bottom);
  const int64_t height = x.size(1), width = x.size(2), channels = x.size(3);
  const int64_t tiles = count(x, top, bottom), apart = tiles * channels;
  auto out = at::empty({TILES, tiles, channels}, x.options());
  const std::vector<float> nothing(channels, 0.0f);
  const float* from = x.const_data_ptr<float>();
  float* to = out.data_ptr<float>();
  each_tile(x, top, bottom, [&](int64_t image, int64_t row, int64_t column, int64_t tile) {
    const float* d[4][4];
    for (int k = 0; k < 4; ++k) {
      for (int l = 0; l < 4; ++l) {
        const int64_t y = row + k - 1, z = column + l - 1;
        const bool inside = 0 <= y && y < height && 0 <= z && z < width;
        d[k][l] = inside ? from + image * x.stride(0) + y * x.stride(1) + z * x.stride(2)
                         : nothing.data();
      }
    }
    float* line = to + tile * channels;
    each_lanes(channels, [&](int64_t c) __attribute__((always_inline)) {
      vec half[4][4];  // by column, then by row
#pragma GCC unroll 4
      for (int l = 0; l < 4; ++l) {
        const vec rows[4] = {load(d[0][l] + c), load(d[1][l] + c), load(d[2][l] + c),
                             load(d[3][l] + c)};
        differences(rows, half[l]);
      }
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        const vec columns[4] = {half[0][k], half[1][k], half[2][k], half[3][k]};
        vec whole[4];
        differences(columns, whole);
#pragma GCC unroll 4
        for (int l = 0; l < 4; ++l) store(line + (k * 4 + l) * apart + c, whole[l]);
      }
    });
  });
  return out;
}

// Writes A^T m A of m [16, tiles, channels] to these rows of y [batch, height, width, channels].
void winograd_untile(const at::Tensor& m, at::Tensor y, int64_t top, int64_t bottom) {
  check_map(y, top, bottom);
  const int64_t channels = y.size(3), tiles = count(y, top, bottom), apart = tiles * channels;
  TORCH_CHECK(m.is_contiguous() && m.scalar_type() == at::kFloat && m.dim() == 3 &&
                  m.size(0) == TILES && m.size(1) == tiles && m.size(2) == channels,
              "the products must be [16, tiles, channels], contiguous");
  const float* from = m.const_data_ptr<float>();
  float* to = y.data_ptr<float>();
  each_tile(y, top, bottom, [&](int64_t image, int64_t row, int64_t column, int64_t tile) {
    const float* line = from + tile * channels;
    float* first = to + image * y.stride(0) + row * y.stride(1) + column * y.stride(2);
    each_lanes(channels, [&](int64_t c) __attribute__((always_inline)) {
      vec half[4][2];  // by column, then by row
#pragma GCC unroll 4
      for (int l = 0; l < 4; ++l) {
        const vec rows[4] = {load(line + l * apart + c), load(line + (4 + l) * apart + c),
                             load(line + (8 + l) * apart + c), load(line + (12 + l) * apart + c)};
        sums(rows, half[l]);
      }
#pragma GCC unroll 2
      for (int k = 0; k < 2; ++k) {
        const vec columns[4] = {half[0][k], half[1][k], half[2][k], half[3][k]};
        vec whole[2];
        sums(columns, whole);
        store(first + k * y.stride(1) + c, whole[0]);
        store(first + k * y.stride(1) + y.stride(2) + c, whole[1]);
      }
    });
  });
}

// A g A^T [16, tiles, channels] of the 2x2 tiles of these rows of g [batch, height, width, channels].
at::Tensor winograd_spread(const at::Tensor& g, int64_t top, int64_t bottom) {
  check_map(g, top, bottom);
  const int64_t channels = g.size(3), tiles = count(g, top, bottom), apart = tiles * channels;
  auto out = at::empty({TILES, tiles, channels}, g.options());
  const float* from = g.const_data_ptr<float>();
  float* to = out.data_ptr<float>();
  each_tile(g, top, bottom, [&](int64_t image, int64_t row, int64_t column, int64_t tile) {
    const float* first = from + image * g.stride(0) + row * g.stride(1) + column * g.stride(2);
    float* line = to + tile * channels;
    each_lanes(channels, [&](int64_t c) __attribute__((always_inline)) {
      vec half[2][4];  // by column, then by row
#pragma GCC unroll 2
      for (int l = 0; l < 2; ++l) {
        const float* pixel = first + l * g.stride(2) + c;
        const vec rows[2] = {load(pixel), load(pixel + g.stride(1))};
        spread_out(rows, half[l]);
      }
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        const vec columns[2] = {half[0][k], half[1][k]};
        vec whole[4];
        spread_out(columns, whole);
#pragma GCC unroll 4
        for (int l = 0; l < 4; ++l) store(line + (k * 4 + l) * apart + c, whole[l]);
      }
    });
  });
  return out;
}

TORCH_LIBRARY_FRAGMENT(styleformer, m) {
  m.def("winograd_tiles(Tensor x, int top, int bottom) -> Tensor");
  m.def("winograd_untile(Tensor m, Tensor(a!) y, int top, int bottom) -> ()");
  m.def("winograd_spread(Tensor g, int top, int bottom) -> Tensor");
}

TORCH_LIBRARY_IMPL(styleformer, CPU, m) {
  m.impl("winograd_tiles", &winograd_tiles);
  m.impl("winograd_untile", &winograd_untile);
  m.impl("winograd_spread", &winograd_spread);
}
