// Matrix products of convolutions: rows that lie anywhere in a map, times packed matrices, and sums
// of outer products of such rows. A convolution with a stride needs no copies of its pixels then.
#include "tile.h"

namespace {

constexpr int64_t PIECE = 96;   // rows of a product that a thread takes at once
constexpr int64_t DEPTH = 512;  // of a panel that stays in the nearest cache
constexpr int64_t CHUNK = 256;  // rows whose outer products are added at once

using Tile = vec[ROWS][2];

INLINE void begin(Tile& acc, float* const* c, int64_t rows, int64_t column, bool first) {
#pragma GCC unroll 6
  for (int64_t r = 0; r < ROWS; ++r) {
    const bool read = !first && r < rows;
    acc[r][0] = read ? load(c[r] + column) : all(0);
    acc[r][1] = read ? load(c[r] + column + LANES) : all(0);
  }
}

INLINE void finish(const Tile& acc, float* const* c, int64_t rows, int64_t column) {
  for (int64_t r = 0; r < std::min(rows, ROWS); ++r) {
    store(c[r] + column, acc[r][0]);
    store(c[r] + column + LANES, acc[r][1]);
  }
}

// acc[r] += sum_d a(r, d) b[d * PANEL ..]
template <typename Factor>
INLINE void add_products(Tile& acc, const Factor& a, const float* b, int64_t depth) {
#pragma GCC unroll 2
  for (int64_t d = 0; d < depth; ++d) {
    const vec b0 = load(b + d * PANEL), b1 = load(b + d * PANEL + LANES);
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; ++r) {
      const vec x = all(a(r, d));
      acc[r][0] = _mm256_fmadd_ps(x, b0, acc[r][0]);
      acc[r][1] = _mm256_fmadd_ps(x, b1, acc[r][1]);
    }
  }
}

// c[row] (+)= a[row] [depth] times packed [panels, depth, PANEL]
void multiply(const float* const* a, float* const* c, int64_t rows, const float* packed,
              int64_t panels, int64_t depth, bool first) {
  for (int64_t k = 0; k < depth; k += DEPTH) {
    const int64_t deep = std::min(DEPTH, depth - k);
    for (int64_t p = 0; p < panels; ++p) {
      const float* panel = packed + (p * depth + k) * PANEL;
      for (int64_t m = 0; m < rows; m += ROWS) {
        const float* row[ROWS];
        for (int64_t r = 0; r < ROWS; ++r) row[r] = a[std::min(m + r, rows - 1)] + k;
        Tile acc;
        begin(acc, c + m, rows - m, p * PANEL, first && k == 0);
        add_products(acc, [&](int r, int64_t d) { return row[r][d]; }, panel, deep);
        finish(acc, c + m, rows - m, p * PANEL);
      }
    }
  }
}

// c[row] (+)= sum_k a[k][row] packed[.., k, ..]: `rows` at most PIECE, packed [panels, depth, PANEL]
void add_outer(const float* const* a, float* const* c, int64_t rows, const float* packed,
               int64_t panels, int64_t depth, bool first) {
  static_assert(PIECE % ROWS == 0 && ROWS <= LANES);
  alignas(32) thread_local float turned[PIECE * CHUNK + LANES];
  for (int64_t k = 0; k < depth; k += CHUNK) {
    const int64_t deep = std::min(CHUNK, depth - k);
    for (int64_t m = 0; m < rows; m += ROWS) {
      float* tile = turned + m * CHUNK;
      if (m + LANES <= rows) {
        // Eight at once, of which those after the sixth are written over.
        for (int64_t d = 0; d < deep; ++d) store(tile + d * ROWS, load(a[k + d] + m));
        continue;
      }
      for (int64_t d = 0; d < deep; ++d) {
        for (int64_t r = 0; r < std::min(ROWS, rows - m); ++r) tile[d * ROWS + r] = a[k + d][m + r];
      }
    }
    for (int64_t p = 0; p < panels; ++p) {
      const float* panel = packed + (p * depth + k) * PANEL;
      for (int64_t m = 0; m < rows; m += ROWS) {
        const float* tile = turned + m * CHUNK;
        Tile acc;
        begin(acc, c + m, rows - m, p * PANEL, first && k == 0);
        add_products(acc, [&](int r, int64_t d) { return tile[d * ROWS + r]; }, panel, deep);
        finish(acc, c + m, rows - m, p * PANEL);
      }
    }
  }
}

bool is_map(const at::Tensor& x) {
  return x.dim() == 4 && x.is_cpu() && x.scalar_type() == at::kFloat &&
         (x.stride(3) == 1 || x.numel() == 0);
}

void check_packed(const at::Tensor& x, std::initializer_list<int64_t> sizes) {
  TORCH_CHECK(x.is_contiguous() && x.is_cpu() && x.scalar_type() == at::kFloat &&
                  x.sizes().equals(at::IntArrayRef(sizes)),
              "a packed matrix has another shape");
}

// The pixels that a tap of a convolution reads; beyond the map they are zero.
struct Taps {
  const at::Tensor& x;
  at::IntArrayRef dy, dx;
  int64_t stride, height, width;  // of what is made
  std::vector<float> nothing;

  Taps(const at::Tensor& map, at::IntArrayRef dy, at::IntArrayRef dx, int64_t stride,
       int64_t height, int64_t width)
      : x(map), dy(dy), dx(dx), stride(stride), height(height), width(width),
        nothing(map.size(3), 0.0f) {
    TORCH_CHECK(is_map(x), "the map must be [batch, height, width, channels], float32");
    TORCH_CHECK(!dy.empty() && dy.size() == dx.size() && stride > 0, "every tap has two offsets");
    TORCH_CHECK(map.size(3) > 0, "the map has no channels");
  }

  const float* pixel(int64_t number, int64_t tap) const {
    const int64_t image = number / (height * width), rest = number % (height * width);
    const int64_t y = rest / width * stride + dy[tap], z = rest % width * stride + dx[tap];
    const bool inside = 0 <= y && y < x.size(1) && 0 <= z && z < x.size(2);
    return inside ? x.const_data_ptr<float>() + image * x.stride(0) + y * x.stride(1) +
                        z * x.stride(2)
                  : nothing.data();
  }
};

}  // namespace

// y[b, i, j] = sum_t x[b, stride i + dy_t, stride j + dx_t] W_t, y a map of any strides;
// packed [taps, outputs / 16, inputs, 16].
void convolve_taps(const at::Tensor& x, const at::Tensor& packed, at::Tensor y, at::IntArrayRef dy,
                   at::IntArrayRef dx, int64_t stride) {
  TORCH_CHECK(is_map(y) && y.size(0) == x.size(0) && y.size(3) % PANEL == 0,
              "outputs must be multiples of 16");
  const Taps taps(x, dy, dx, stride, y.size(1), y.size(2));
  const int64_t inputs = x.size(3), panels = y.size(3) / PANEL, count = int64_t(dy.size());
  check_packed(packed, {count, panels, inputs, PANEL});
  const int64_t area = y.size(1) * y.size(2), pixels = y.size(0) * area;
  float* to = y.data_ptr<float>();
  const float* from = packed.const_data_ptr<float>();
  at::parallel_for(0, (pixels + PIECE - 1) / PIECE, 1, [&](int64_t begin_, int64_t end) {
    const float* a[PIECE];
    float* c[PIECE];
    for (int64_t piece = begin_; piece < end; ++piece) {
      const int64_t start = piece * PIECE, rows = std::min(PIECE, pixels - start);
      for (int64_t m = 0; m < rows; ++m) {
        const int64_t rest = (start + m) % area;
        c[m] = to + (start + m) / area * y.stride(0) + rest / y.size(2) * y.stride(1) +
               rest % y.size(2) * y.stride(2);
      }
      for (int64_t tap = 0; tap < count; ++tap) {
        for (int64_t m = 0; m < rows; ++m) a[m] = taps.pixel(start + m, tap);
        multiply(a, c, rows, from + tap * panels * inputs * PANEL, panels, inputs, tap == 0);
      }
    }
  });
}

// W_t = sum over pixels of x[b, stride i + dy_t, stride j + dx_t]^T g[b, i, j]: [taps, inputs,
// outputs]; packed [outputs / 16, batch height width, 16], as many pixels as g has.
at::Tensor taps_of(const at::Tensor& x, const at::Tensor& packed, at::IntArrayRef dy,
                   at::IntArrayRef dx, int64_t stride, int64_t height, int64_t width) {
  const Taps taps(x, dy, dx, stride, height, width);
  TORCH_CHECK(packed.dim() == 3, "packed must be [panels, pixels, 16]");
  const int64_t inputs = x.size(3), panels = packed.size(0), count = int64_t(dy.size());
  const int64_t pixels = x.size(0) * height * width, pieces = (inputs + PIECE - 1) / PIECE;
  check_packed(packed, {panels, pixels, PANEL});
  auto out = at::zeros({count, inputs, panels * PANEL}, x.options());
  float* to = out.data_ptr<float>();
  const float* from = packed.const_data_ptr<float>();
  at::parallel_for(0, count * pieces, 1, [&](int64_t begin_, int64_t end) {
    std::vector<const float*> a(pixels);
    float* c[PIECE];
    for (int64_t number = begin_; number < end; ++number) {
      const int64_t tap = number / pieces, start = number % pieces * PIECE;
      const int64_t rows = std::min(PIECE, inputs - start);
      for (int64_t k = 0; k < pixels; ++k) a[k] = taps.pixel(k, tap) + start;
      for (int64_t m = 0; m < rows; ++m) c[m] = to + ((tap * inputs) + start + m) * panels * PANEL;
      add_outer(a.data(), c, rows, from, panels, pixels, true);
    }
  });
  return out;
}

// a [count, rows, depth] times packed [count, columns / 16, depth, 16]
at::Tensor products(const at::Tensor& a, const at::Tensor& packed) {
  TORCH_CHECK(a.dim() == 3 && packed.dim() == 4 && a.is_contiguous() &&
                  a.scalar_type() == at::kFloat && a.is_cpu(),
              "the rows must be [count, rows, depth], contiguous float32");
  const int64_t count = a.size(0), rows = a.size(1), depth = a.size(2), panels = packed.size(1);
  TORCH_CHECK(depth > 0, "the rows are empty");
  check_packed(packed, {count, panels, depth, PANEL});
  auto out = at::empty({count, rows, panels * PANEL}, a.options());
  const int64_t pieces = (rows + PIECE - 1) / PIECE, columns = panels * PANEL;
  const float *from = a.const_data_ptr<float>(), *with = packed.const_data_ptr<float>();
  float* to = out.data_ptr<float>();
  at::parallel_for(0, count * pieces, 1, [&](int64_t begin_, int64_t end) {
    const float* row[PIECE];
    float* c[PIECE];
    for (int64_t number = begin_; number < end; ++number) {
      const int64_t one = number / pieces, start = number % pieces * PIECE;
      const int64_t here = std::min(PIECE, rows - start);
      for (int64_t m = 0; m < here; ++m) {
        row[m] = from + (one * rows + start + m) * depth;
        c[m] = to + (one * rows + start + m) * columns;
      }
      multiply(row, c, here, with + one * columns * depth, panels, depth, true);
    }
  });
  return out;
}

// total [count, rows, columns] += a^T [count, depth, rows] times packed [count, columns / 16, depth,
// 16]
void add_products_to(at::Tensor total, const at::Tensor& a, const at::Tensor& packed) {
  TORCH_CHECK(a.dim() == 3 && packed.dim() == 4 && a.is_contiguous() && total.is_contiguous() &&
                  a.scalar_type() == at::kFloat && total.scalar_type() == at::kFloat && a.is_cpu(),
              "the rows must be [count, depth, rows], contiguous float32");
  const int64_t count = a.size(0), depth = a.size(1), rows = a.size(2), panels = packed.size(1);
  const int64_t columns = panels * PANEL, pieces = (rows + PIECE - 1) / PIECE;
  check_packed(packed, {count, panels, depth, PANEL});
  check_packed(total, {count, rows, columns});
  const float *from = a.const_data_ptr<float>(), *with = packed.const_data_ptr<float>();
  float* to = total.data_ptr<float>();
  at::parallel_for(0, count * pieces, 1, [&](int64_t begin_, int64_t end) {
    std::vector<const float*> row(depth);
    float* c[PIECE];
    for (int64_t number = begin_; number < end; ++number) {
      const int64_t one = number / pieces, start = number % pieces * PIECE;
      const int64_t here = std::min(PIECE, rows - start);
      for (int64_t k = 0; k < depth; ++k) row[k] = from + (one * depth + k) * rows + start;
      for (int64_t m = 0; m < here; ++m) c[m] = to + (one * rows + start + m) * columns;
      add_outer(row.data(), c, here, with + one * columns * depth, panels, depth, false);
    }
  });
}

TORCH_LIBRARY_FRAGMENT(styleformer, m) {
  m.def(
      "convolve_taps(Tensor x, Tensor packed, Tensor(a!) y, int[] dy, int[] dx, int stride) -> ()");
  m.def(
      "taps_of(Tensor x, Tensor packed, int[] dy, int[] dx, int stride, int height, int width) -> "
      "Tensor");
  m.def("products(Tensor a, Tensor packed) -> Tensor");
  m.def("add_products_to(Tensor(a!) total, Tensor a, Tensor packed) -> ()");
}

TORCH_LIBRARY_IMPL(styleformer, CPU, m) {
  m.impl("convolve_taps", &convolve_taps);
  m.impl("taps_of", &taps_of);
  m.impl("products", &products);
  m.impl("add_products_to", &add_products_to);
}
