// What a layer of Styleformer does before and after its attention, fp32 on an AVX2 processor.
//
//   enter: doubling, position, modulation and normalization of tokens, in one pass.
//   project: Linformer's projection of the tokens, a slice at a time.
//   colors, demodulation: of few outputs, and without a tensor of squared weights.
#include "tile.h"

namespace {

constexpr int64_t PROJECTED = 128;  // tokens of a piece of the projection
constexpr float NORM_EPSILON = 1e-5f;

// One token's row: out = layer_norm(x * style), without affine
INLINE void normalize(float* x, const float* style, int64_t channels, float* out) {
  vec sum = {}, squares = {};
  for (int64_t c = 0; c < channels; c += LANES) {
    const vec y = load(x + c) * load(style + c);
    store(x + c, y);
    sum = sum + y;
  }
  const vec mean = all(total(sum) / channels);
  for (int64_t c = 0; c < channels; c += LANES) {
    const vec y = load(x + c) - mean;
    squares = squares + y * y;
  }
  const vec inverse = all(1 / std::sqrt(total(squares) / channels + NORM_EPSILON));
  for (int64_t c = 0; c < channels; c += LANES) store(out + c, (load(x + c) - mean) * inverse);
}

// a / 4 + 3 b / 4
INLINE vec nearer(vec a, vec b) { return a * all(0.25f) + b * all(0.75f); }

}  // namespace

// Writes h[:, first:last] = layer_norm((x + position) * style): x are tokens [batch, last - first,
// channels], or, doubled, all tokens of the map of half the side, of which those are interpolated
// (reference_models/resampling.py, `upsample2d`); then first and last stand at whole rows.
void enter(const at::Tensor& x, bool doubled, const std::optional<at::Tensor>& position,
           const at::Tensor& style, int64_t first, int64_t last, at::Tensor h) {
  TORCH_CHECK(h.dim() == 3 && h.size(2) % LANES == 0, "channels must be a multiple of 8");
  const int64_t batch = h.size(0), tokens = h.size(1), channels = h.size(2);
  TORCH_CHECK(0 <= first && first <= last && last <= tokens, "no such tokens");
  TORCH_CHECK(is_matrix(h, batch, channels) && is_matrix(x, batch, channels),
              "x and h must be float32 with rows side by side");
  TORCH_CHECK(is_vectors(style, batch, channels), "the style must be float32 [batch, channels]");
  TORCH_CHECK(!position || (is_matrix(*position, 1, channels) && position->size(1) == tokens),
              "the positions must be float32 [1, tokens, channels]");
  // As many rows of that many tokens; of those that are not doubled, a few at a time.
  const int64_t side = doubled ? std::llround(std::sqrt(double(tokens))) : 32, half = side / 2;
  TORCH_CHECK(!doubled || (side % 2 == 0 && side * side == tokens && first % side == 0 &&
                           last % side == 0 && x.size(1) == half * half),
              "doubled tokens must be whole rows of a square");
  TORCH_CHECK(doubled || x.size(1) == last - first, "x does not fit");
  const float *x_data = x.const_data_ptr<float>(), *style_data = style.const_data_ptr<float>();
  const float* position_data = position ? position->const_data_ptr<float>() : nullptr;
  float* h_data = h.data_ptr<float>();
  const int64_t x_step = x.stride(0), h_step = h.stride(0), line = half * channels;
  const int64_t lines = (last - first + side - 1) / side;
  at::parallel_for(0, batch * lines, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> row(channels), blend(line + 2 * channels);  // a zero token at both ends
    for (int64_t i = begin; i < end; ++i) {
      const int64_t b = i / lines, from = first + i % lines * side, y = from / side;
      const float* image = x_data + b * x_step;
      if (doubled) {
        const int64_t other = y % 2 ? y / 2 + 1 : y / 2 - 1;
        const float *near = image + y / 2 * line, *far = image + other * line;
        const bool inside = 0 <= other && other < half;
        for (int64_t c = 0; c < line; c += LANES)
          store(blend.data() + channels + c, nearer(inside ? load(far + c) : vec{}, load(near + c)));
      }
      for (int64_t t = from; t < std::min(from + side, last); ++t) {
        const int64_t u = t - from;
        const float* near = doubled ? blend.data() + (u / 2 + 1) * channels
                                    : image + (t - first) * channels;
        const float* far = u % 2 ? near + channels : near - channels;
        for (int64_t c = 0; c < channels; c += LANES) {
          vec v = load(near + c);
          if (doubled) v = nearer(load(far + c), v);
          if (position_data) v = v + load(position_data + t * channels + c);
          store(row.data() + c, v);
        }
        normalize(row.data(), style_data + b * channels, channels,
                  h_data + b * h_step + t * channels);
      }
    }
  });
}

// sum [batch, rows, channels] += e [rows, tokens] h [batch, tokens, channels]. e crosses memory
// once, its rows far apart: a tile's piece is fetched ahead and copied, so that it stays in L1.
void project(const at::Tensor& e, const at::Tensor& h, at::Tensor sum) {
  TORCH_CHECK(sum.dim() == 3 && sum.size(2) % PANEL == 0, "channels must be a multiple of 16");
  const int64_t batch = sum.size(0), rows = sum.size(1), channels = sum.size(2);
  TORCH_CHECK(is_matrix(h, batch, channels) && sum.is_contiguous() && sum.is_cpu() &&
                  sum.scalar_type() == at::kFloat,
              "h and sum must be float32 with rows side by side");
  TORCH_CHECK(e.dim() == 2 && e.size(0) == rows && e.size(1) == h.size(1) && e.stride(1) == 1 &&
                  e.is_cpu() && e.scalar_type() == at::kFloat,
              "the projection must be float32 [rows, tokens] with rows in one piece");
  const float *e_data = e.const_data_ptr<float>(), *h_data = h.const_data_ptr<float>();
  float* sum_data = sum.data_ptr<float>();
  const int64_t tokens = h.size(1), e_down = e.stride(0), h_step = h.stride(0);
  const int64_t tiles = (rows + ROWS - 1) / ROWS;
  at::parallel_for(0, tiles, 1, [&](int64_t begin, int64_t end) {
    alignas(32) float piece[ROWS][PROJECTED] = {};
    for (int64_t first = 0; first < tokens; first += PROJECTED) {
      const int64_t here = std::min(PROJECTED, tokens - first);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t some = std::min(ROWS, rows - i * ROWS);
        const int64_t ahead = i + 1 < end ? i + 1 : begin, then = first + (ahead == begin) * here;
        for (int64_t r = 0; r < ROWS; ++r) {
          if (r < some)
            std::memcpy(piece[r], e_data + (i * ROWS + r) * e_down + first, sizeof(float) * here);
          for (int64_t t = then; t < std::min(then + PROJECTED, tokens); t += 16)
            _mm_prefetch(e_data + std::min(ahead * ROWS + r, rows - 1) * e_down + t, _MM_HINT_T1);
        }
        for (int64_t b = 0; b < batch; ++b)
          for (int64_t c = 0; c < channels; c += PANEL) {
            float* to = sum_data + (b * rows + i * ROWS) * channels + c;
            vec acc[ROWS][2] = {};
            accumulate(acc, piece[0], PROJECTED, h_data + b * h_step + first * channels + c, here,
                       channels);
#pragma GCC unroll 6
            for (int r = 0; r < ROWS; ++r) {
              if (r >= some) continue;
              store(to + r * channels, load(to + r * channels) + acc[r][0]);
              store(to + r * channels + LANES, load(to + r * channels + LANES) + acc[r][1]);
            }
          }
      }
    }
  });
}

// image [batch, outputs, all tokens]: of those from `first` on, weight [batch, outputs, channels] x
// + bias [outputs], for few outputs
void colors(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, int64_t first,
            at::Tensor image) {
  TORCH_CHECK(x.dim() == 3 && image.dim() == 3 && x.size(2) % LANES == 0, "wrong dimensions");
  const int64_t batch = x.size(0), tokens = x.size(1), channels = x.size(2);
  const int64_t outputs = image.size(1), all_tokens = image.size(2);
  TORCH_CHECK(is_matrix(x, batch, channels) && is_matrix(weight, batch, channels) &&
                  weight.size(1) == outputs && weight.is_contiguous(),
              "x and the weights must be float32 with rows side by side");
  TORCH_CHECK(is_matrix(image, batch, all_tokens) && image.is_contiguous() && 0 <= first &&
                  first + tokens <= all_tokens && is_vectors(bias.unsqueeze(0), 1, outputs),
              "the image or the bias does not fit");
  const float *x_data = x.const_data_ptr<float>(), *w_data = weight.const_data_ptr<float>();
  const float* bias_data = bias.const_data_ptr<float>();
  float* image_data = image.data_ptr<float>();
  const int64_t x_step = x.stride(0);
  at::parallel_for(0, batch * tokens, 256, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t b = i / tokens, t = i % tokens;
      const float* row = x_data + b * x_step + t * channels;
      for (int64_t o = 0; o < outputs; ++o) {
        const float* w = w_data + (b * outputs + o) * channels;
        vec sum = {};
        for (int64_t c = 0; c < channels; c += LANES) sum = sum + load(row + c) * load(w + c);
        image_data[(b * outputs + o) * all_tokens + first + t] = total(sum) + bias_data[o];
      }
    }
  });
}

// d_bo = (sum_i (weight_oi style_bi)^2 + epsilon)^(-1/2), without a tensor of squared weights
at::Tensor demodulation(const at::Tensor& weight, const at::Tensor& styles, double epsilon) {
  TORCH_CHECK(weight.dim() == 2 && weight.size(1) % LANES == 0, "inputs must be a multiple of 8");
  const int64_t outputs = weight.size(0), inputs = weight.size(1), batch = styles.size(0);
  TORCH_CHECK(is_vectors(weight, outputs, inputs) && is_vectors(styles, batch, inputs),
              "the weights and styles must be contiguous float32 [some, inputs]");
  auto found = at::empty({batch, outputs}, styles.options());
  const float *w_data = weight.const_data_ptr<float>(), *s_data = styles.const_data_ptr<float>();
  float* found_data = found.data_ptr<float>();
  at::parallel_for(0, outputs, std::max<int64_t>(1, 32768 / std::max<int64_t>(1, inputs)), [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o)
      for (int64_t b = 0; b < batch; ++b) {
        const float *w = w_data + o * inputs, *s = s_data + b * inputs;
        vec sums[4] = {};
        for (int64_t c = 0; c < inputs; c += LANES) {
          const vec product = load(w + c) * load(s + c);
          sums[c / LANES % 4] = sums[c / LANES % 4] + product * product;
        }
        const float energy = total((sums[0] + sums[1]) + (sums[2] + sums[3]));
        found_data[b * outputs + o] = 1 / std::sqrt(energy + float(epsilon));
      }
  });
  return found;
}

TORCH_LIBRARY_FRAGMENT(styleformer, m) {
  m.def(
      "enter(Tensor x, bool doubled, Tensor? position, Tensor style, int first, int last, "
      "Tensor(a!) h) -> ()");
  m.def("project(Tensor e, Tensor h, Tensor(a!) sum) -> ()");
  m.def("colors(Tensor x, Tensor weight, Tensor bias, int first, Tensor(a!) image) -> ()");
  m.def("demodulation(Tensor weight, Tensor styles, float epsilon) -> Tensor");
}

TORCH_LIBRARY_IMPL(styleformer, CPU, m) {
  m.impl("enter", &enter);
  m.impl("project", &project);
  m.impl("colors", &colors);
  m.impl("demodulation", &demodulation);
}
