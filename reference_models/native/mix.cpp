// What a layer of Styleformer computes on an AVX2 processor in inference, fp32.
//
//   mix: q = h Wq, a = softmax(q k^T) v for every head, y = a Wi + r Wr + bias + noise,
//        leaky ReLU, clamp. Nothing but h, r and y crosses memory: a thread takes a few rows
//        through all of it.
//   pack, pack_keys: the constant matrices of a call in the order in which `mix` reads them.
//
// Every matrix product is made of one tile: 6 rows times 16 columns, held in 12 registers. A row's
// numbers depend neither on the number of threads nor on the rows beside it, but for one choice
// (see `attend`) which is made for 6 rows at fixed places.
#include "tile.h"

namespace {

constexpr int64_t BLOCK_TILES = 4;  // a thread's rows at a time: their scores stay in L1
constexpr int64_t BLOCK_KEYS = 256;
constexpr float SAFE_SCORE = 40;    // 2^40 is far from overflow, 2^-40 far from underflow
constexpr float LEAKY_SLOPE = 0.2f;

// 2^x within 1.4 units in the last place: 2^n times a polynomial on [-1/2, 1/2]. `bounded`:
// |x| <= 126 is known. Else x <= 0, NaN gives NaN and what is below 2^-126 becomes that.
template <bool bounded>
INLINE vec exp2(vec x) {
  if (!bounded) x = larger(all(-126.f), x);
  const vec magic = all(12582912.f);  // 1.5 * 2^23: adding it rounds to an integer
  const vec shifted = x + magic;
  const vec f = x - (shifted - magic);
  vec y = all(1.32647272e-3f);
  y = y * f + all(9.67151264e-3f);
  y = y * f + all(5.55073374e-2f);
  y = y * f + all(2.40222421e-1f);
  y = y * f + all(6.93146978e-1f);
  y = y * f + all(1.f);
  const __m256i n = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
  if (bounded) return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(y), n));
  return y * _mm256_castsi256_ps(_mm256_add_epi32(n, _mm256_set1_epi32(127 << 23)));
}

// out = a b for 6 rows of `depth` numbers and all columns of the packed b
INLINE void multiply(const float* a, int64_t a_stride, const float* b, int64_t depth, float* out,
                     int64_t columns) {
  for (int64_t c = 0; c < columns; c += PANEL) {
    vec acc[ROWS][2] = {};
    accumulate(acc, a, a_stride, b + c * depth, depth);
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; ++r) {
      store(out + r * columns + c, acc[r][0]);
      store(out + r * columns + c + LANES, acc[r][1]);
    }
  }
}

// p[r] = 2^(q k - shift[r]) for 16 keys; their sum is added to sums[r].
template <bool bounded>
void weights_tile(const float* q, int64_t q_stride, const float* k, int64_t width, int64_t keys,
                  const float* shift, float* p, float (*sums)[LANES]) {
  vec acc[ROWS][2] = {};
  accumulate(acc, q, q_stride, k, width);
  if (keys < PANEL) {  // what pads the last panel weighs nothing: 2^-126
    for (int r = 0; r < ROWS; ++r) {
      alignas(32) float s[PANEL];
      store(s, acc[r][0]);
      store(s + LANES, acc[r][1]);
      for (int64_t j = keys; j < PANEL; ++j) s[j] = bounded ? -126.f : -INFINITY;
      acc[r][0] = load(s);
      acc[r][1] = load(s + LANES);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; ++r) {
    vec s0 = acc[r][0], s1 = acc[r][1];
    if (!bounded) s0 = s0 - all(shift[r]), s1 = s1 - all(shift[r]);
    const vec p0 = exp2<bounded>(s0), p1 = exp2<bounded>(s1);
    store(p + r * BLOCK_KEYS, p0);
    store(p + r * BLOCK_KEYS + LANES, p1);
    store(sums[r], load(sums[r]) + (p0 + p1));
  }
}

// The largest of the scores of every row
void largest_scores(const float* q, int64_t q_stride, const float* k, int64_t width, int64_t keys,
                    float* found) {
  std::fill(found, found + ROWS, -INFINITY);
  for (int64_t first = 0; first < keys; first += PANEL) {
    vec acc[ROWS][2] = {};
    accumulate(acc, q, q_stride, k + first * width, width);
    for (int r = 0; r < ROWS; ++r) {
      alignas(32) float s[PANEL];
      store(s, acc[r][0]);
      store(s + LANES, acc[r][1]);
      for (int64_t j = 0; j < std::min(PANEL, keys - first); ++j) found[r] = std::max(found[r], s[j]);
    }
  }
}

INLINE void values_tile(const float* p, const float* v, int64_t keys, float* out, int64_t stride) {
  vec acc[ROWS][2];
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; ++r)
    acc[r][0] = load(out + r * stride), acc[r][1] = load(out + r * stride + LANES);
  accumulate(acc, p, BLOCK_KEYS, v, keys);
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; ++r)
    store(out + r * stride, acc[r][0]), store(out + r * stride + LANES, acc[r][1]);
}

INLINE float squared_length(const float* x, int64_t width) {
  vec squares = {};
  for (int64_t w = 0; w < width; w += LANES) squares = squares + load(x + w) * load(x + w);
  return total(squares);
}

// The larger, or NaN where there is one
INLINE float longer(float a, float b) { return a > b || std::isnan(a) ? a : b; }

struct Sizes {
  int64_t tokens, channels, heads, width, keys, residual, outputs;
};

struct Scratch {
  explicit Scratch(const Sizes& n)
      : h(ROWS * n.channels), r(ROWS * n.residual), q(BLOCK_TILES * ROWS * n.channels),
        a(BLOCK_TILES * ROWS * n.channels), p(BLOCK_TILES * ROWS * BLOCK_KEYS) {}
  std::vector<float> h, r, q, a, p;
};

// Attention of one head for some tiles of rows: a = softmax(q k) v, both of row stride `channels`.
//
// Softmax needs no maximum where the scores are known to be small: |q| |k| bounds them, and 2^score
// is then as exact as 2^(score - maximum). Rows of larger scores take the maximum in a first pass.
void attend(const Sizes& n, int64_t tiles, const float* q, const float* k, const float* v,
            float longest_key, float* p, float* a) {
  bool bounded[BLOCK_TILES];
  float shift[BLOCK_TILES * ROWS];
  alignas(32) float sums[BLOCK_TILES * ROWS][LANES] = {};
  for (int64_t t = 0; t < tiles; ++t) {
    const float* rows = q + t * ROWS * n.channels;
    bounded[t] = true;
    for (int64_t r = 0; r < ROWS; ++r) {
      for (int64_t w = 0; w < n.width; w += LANES)
        store(a + (t * ROWS + r) * n.channels + w, vec{});
      // Not so with a NaN, nor with infinity.
      const float length = squared_length(rows + r * n.channels, n.width);
      bounded[t] &= length * longest_key <= SAFE_SCORE * SAFE_SCORE;
    }
    if (!bounded[t]) largest_scores(rows, n.channels, k, n.width, n.keys, shift + t * ROWS);
  }
  for (int64_t first = 0; first < n.keys; first += BLOCK_KEYS) {
    const int64_t here = std::min(BLOCK_KEYS, n.keys - first);
    for (int64_t j = 0; j < here; j += PANEL)
      for (int64_t t = 0; t < tiles; ++t) {
        const auto tile = bounded[t] ? weights_tile<true> : weights_tile<false>;
        tile(q + t * ROWS * n.channels, n.channels, k + (first + j) * n.width, n.width, here - j,
             shift + t * ROWS, p + t * ROWS * BLOCK_KEYS + j, sums + t * ROWS);
      }
    for (int64_t w = 0; w < n.width; w += PANEL)
      for (int64_t t = 0; t < tiles; ++t)
        values_tile(p + t * ROWS * BLOCK_KEYS, v + w * n.keys + first * PANEL, here,
                    a + t * ROWS * n.channels + w, n.channels);
  }
  for (int64_t r = 0; r < tiles * ROWS; ++r) {
    const vec inverse = all(1 / total(load(sums[r])));
    for (int64_t w = 0; w < n.width; w += LANES)
      store(a + r * n.channels + w, load(a + r * n.channels + w) * inverse);
  }
}

// Copies so many rows of a tile; zeros are the rest of it.
void copy_rows(const float* from, int64_t rows, int64_t columns, std::vector<float>& copy) {
  if (rows < ROWS) std::fill(copy.begin(), copy.end(), 0.f);
  std::memcpy(copy.data(), from, sizeof(float) * rows * columns);
}

}  // namespace

// matrix [batch or 1, depth, columns] times factor, its columns times scale [batch, columns]
// -> [batch, panels of 16 columns, depth, 16]
at::Tensor pack(const at::Tensor& matrix, const std::optional<at::Tensor>& scale, double factor) {
  TORCH_CHECK(matrix.dim() == 3 && matrix.is_cpu() && matrix.scalar_type() == at::kFloat,
              "the matrix must be float32 [batch, depth, columns] on the CPU");
  const int64_t depth = matrix.size(1), columns = matrix.size(2);
  const int64_t batch = scale ? scale->size(0) : matrix.size(0);
  TORCH_CHECK(matrix.size(0) == batch || matrix.size(0) == 1, "the batches must agree");
  TORCH_CHECK(!scale || (scale->dim() == 2 && scale->size(1) == columns && scale->is_cpu() &&
                         scale->scalar_type() == at::kFloat),
              "the scale must be float32 [batch, columns] on the CPU");
  auto packed = at::empty({batch, panels(columns), depth, PANEL}, matrix.options());
  const int64_t step = matrix.size(0) == 1 ? 0 : matrix.stride(0);
  const int64_t down = matrix.stride(1), along = matrix.stride(2);
  const float* from = matrix.const_data_ptr<float>();
  float* to = packed.data_ptr<float>();
  const int64_t grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, depth * PANEL));
  at::parallel_for(0, batch * panels(columns), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / panels(columns), first = i % panels(columns) * PANEL;
      float* panel = to + i * depth * PANEL;
      for (int64_t j = 0; j < PANEL; ++j) {
        const int64_t c = first + j;
        float f = factor;
        if (scale && c < columns)
          f *= scale->const_data_ptr<float>()[image * scale->stride(0) + c * scale->stride(1)];
        const float* x = from + image * step + c * along;
        for (int64_t d = 0; d < depth; ++d) panel[d * PANEL + j] = c < columns ? x[d * down] * f : 0;
      }
    }
  });
  return packed;
}

// keys [batch, keys, channels] -> [batch, heads, panels of 16 keys, width, 16], and the square of
// the longest key's length [batch, heads] (NaN if there is one)
std::tuple<at::Tensor, at::Tensor> pack_keys(const at::Tensor& keys, int64_t heads) {
  TORCH_CHECK(keys.dim() == 3 && heads > 0 && keys.size(2) % heads == 0,
              "the keys must be [batch, keys, heads * width]");
  const int64_t batch = keys.size(0), count = keys.size(1), width = keys.size(2) / heads;
  TORCH_CHECK(is_matrix(keys, batch, keys.size(2)) && width % LANES == 0,
              "the keys must be float32 with rows side by side, widths multiples of 8");
  auto packed = at::empty({batch, heads, panels(count), width, PANEL}, keys.options());
  auto longest = at::empty({batch, heads}, keys.options());
  const float* from = keys.const_data_ptr<float>();
  float *to = packed.data_ptr<float>(), *longest_data = longest.data_ptr<float>();
  at::parallel_for(0, batch * heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* head = to + i * panels(count) * width * PANEL;
      float found = 0;
      for (int64_t j = 0; j < panels(count) * PANEL; ++j) {
        const float* key = from + i / heads * keys.stride(0) + j * heads * width + i % heads * width;
        float* column = head + j / PANEL * width * PANEL + j % PANEL;
        if (j < count) found = longer(found, squared_length(key, width));
        for (int64_t w = 0; w < width; ++w) column[w * PANEL] = j < count ? key[w] : 0;
      }
      longest_data[i] = found;
    }
  });
  return {packed, longest};
}

// Writes out [batch, tokens, outputs], which may be h itself. h [batch, tokens, channels]; wq, values,
// wi packed; keys from pack_keys; wq holds the factor log2(e) / sqrt(width). residual [batch, tokens,
// some], wr packed.
void mix(const at::Tensor& h, const at::Tensor& wq, const at::Tensor& keys,
               const at::Tensor& longest, const at::Tensor& values, const at::Tensor& wi,
               const std::optional<at::Tensor>& residual, const std::optional<at::Tensor>& wr,
               const at::Tensor& bias, const std::optional<at::Tensor>& noise,
               std::optional<double> clamp, at::Tensor out) {
  TORCH_CHECK(h.dim() == 3 && keys.dim() == 5 && wi.dim() == 4, "h, keys, wi: wrong dimensions");
  const int64_t batch = h.size(0), heads = keys.size(1), width = keys.size(3);
  const Sizes n{h.size(1), h.size(2), heads, width, values.size(2),
                residual ? residual->size(2) : 0, wi.size(1) * PANEL};
  TORCH_CHECK(n.channels == heads * width && width % PANEL == 0, "widths must be multiples of 16");
  TORCH_CHECK(is_matrix(h, batch, n.channels), "h must be float32 with rows side by side");
  TORCH_CHECK(residual.has_value() == wr.has_value(), "a residual needs its matrix");
  TORCH_CHECK(!residual || (is_matrix(*residual, batch, n.residual) && residual->size(1) == n.tokens),
              "the residual must be float32 [batch, tokens, some] with rows side by side");
  const auto packed = [&](const at::Tensor& x, int64_t depth, int64_t columns) {
    TORCH_CHECK(x.is_contiguous() && x.is_cpu() && x.scalar_type() == at::kFloat &&
                    x.numel() == batch * panels(columns) * depth * PANEL,
                "a packed matrix does not fit");
    return x.const_data_ptr<float>();
  };
  const float* q_matrix = packed(wq, n.channels, n.channels);
  const float* k_matrix = packed(keys, n.channels, n.keys);
  const float* v_matrix = packed(values, n.keys, n.channels);
  const float* i_matrix = packed(wi, n.channels, n.outputs);
  const float* r_matrix = wr ? packed(*wr, n.residual, n.outputs) : nullptr;
  TORCH_CHECK(longest.is_contiguous() && longest.numel() == batch * heads, "keys do not fit");
  TORCH_CHECK(bias.is_contiguous() && bias.numel() == n.outputs && bias.scalar_type() == at::kFloat,
              "the bias must be float32 [outputs]");
  at::Tensor added;
  if (noise) {
    TORCH_CHECK(noise->is_cpu() && noise->scalar_type() == at::kFloat, "the noise must be float32");
    added = noise->expand({batch, n.tokens, 1});
  }
  TORCH_CHECK(is_matrix(out, batch, n.outputs) && out.size(1) == n.tokens &&
                  (batch == 1 || out.stride(0) >= n.tokens * n.outputs),
              "out must be float32 [batch, tokens, outputs] with rows side by side");

  const float *h_data = h.const_data_ptr<float>(), *bias_data = bias.const_data_ptr<float>();
  const float* r_data = residual ? residual->const_data_ptr<float>() : nullptr;
  const float* noise_data = noise ? added.const_data_ptr<float>() : nullptr;
  const float* longest_data = longest.const_data_ptr<float>();
  float* out_data = out.data_ptr<float>();
  const int64_t h_step = h.stride(0), r_step = residual ? residual->stride(0) : 0;
  const int64_t out_step = out.stride(0);
  const int64_t n_step = noise ? added.stride(0) : 0, n_down = noise ? added.stride(1) : 0;
  const vec limit = all(clamp ? float(*clamp) : INFINITY);

  const int64_t image_tiles = (n.tokens + ROWS - 1) / ROWS;
  at::parallel_for(0, batch * image_tiles, 2, [&](int64_t begin, int64_t end) {
    Scratch s(n);
    while (begin < end) {
      const int64_t b = begin / image_tiles, tile = begin % image_tiles;
      const int64_t tiles = std::min({end - begin, image_tiles - tile, BLOCK_TILES});
      begin += tiles;
      for (int64_t t = 0; t < tiles; ++t) {
        const int64_t first = (tile + t) * ROWS, rows = std::min(ROWS, n.tokens - first);
        const float* x = h_data + b * h_step + first * n.channels;
        if (rows < ROWS) copy_rows(x, rows, n.channels, s.h), x = s.h.data();
        multiply(x, n.channels, q_matrix + b * n.channels * n.channels, n.channels,
                 s.q.data() + t * ROWS * n.channels, n.channels);
      }
      for (int64_t j = 0; j < heads; ++j)
        attend(n, tiles, s.q.data() + j * width,
               k_matrix + (b * heads + j) * panels(n.keys) * PANEL * width,
               v_matrix + (b * heads + j) * width * n.keys, longest_data[b * heads + j],
               s.p.data(), s.a.data() + j * width);
      for (int64_t t = 0; t < tiles; ++t) {
        const int64_t first = (tile + t) * ROWS, rows = std::min(ROWS, n.tokens - first);
        // A copy, for the rows may be overwritten below.
        if (residual) copy_rows(r_data + b * r_step + first * n.residual, rows, n.residual, s.r);
        for (int64_t c = 0; c < n.outputs; c += PANEL) {
          vec acc[ROWS][2] = {};
          accumulate(acc, s.a.data() + t * ROWS * n.channels, n.channels,
                     i_matrix + (b * n.outputs + c) * n.channels, n.channels);
          if (residual)
            accumulate(acc, s.r.data(), n.residual, r_matrix + (b * n.outputs + c) * n.residual,
                       n.residual);
          float* to = out_data + b * out_step + first * n.outputs + c;
#pragma GCC unroll 6
          for (int r = 0; r < ROWS; ++r) {
            if (r >= rows) continue;
            const vec e = all(noise_data ? noise_data[b * n_step + (first + r) * n_down] : 0.f);
#pragma GCC unroll 2
            for (int i = 0; i < 2; ++i) {
              const vec y = acc[r][i] + e + load(bias_data + c + i * LANES);
              const vec bent = larger(y * all(LEAKY_SLOPE), y);
              store(to + r * n.outputs + i * LANES, larger(-limit, smaller(limit, bent)));
            }
          }
        }
      }
    }
  });
}

TORCH_LIBRARY(styleformer, m) {
  m.def("pack(Tensor matrix, Tensor? scale, float factor) -> Tensor");
  m.def("pack_keys(Tensor keys, int heads) -> (Tensor, Tensor)");
  m.def(
      "mix(Tensor h, Tensor wq, Tensor keys, Tensor longest, Tensor values, Tensor wi, "
      "Tensor? residual, Tensor? wr, Tensor bias, Tensor? noise, float? clamp, Tensor(a!) out) "
      "-> ()");
}

TORCH_LIBRARY_IMPL(styleformer, CPU, m) {
  m.impl("pack", &pack);
  m.impl("pack_keys", &pack_keys);
  m.impl("mix", &mix);
}
