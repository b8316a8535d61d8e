// What a layer needs before any of its tokens is mixed: keys and values, and its weights with the
// factors of each image, in the order in which `mix` reads them. Many small operations, which would
// take longer to call one by one.
#include "tile.h"

namespace {

constexpr double EPSILON = 1e-8;  // of demodulation

// The weight [outputs, inputs] of a linear layer, packed for each image
at::Tensor scaled(const at::Tensor& weight, const at::Tensor& scale, double factor) {
  return pack(weight.t().unsqueeze(0), scale, factor);
}

}  // namespace

// source [batch, keys, channels]: the tokens of keys and values. Weights [outputs, inputs]; styles
// [batch, channels]. Returns query, keys, longest, values, integrate, skip for `mix`, and the values
// [batch, keys, channels]. With `projected` tokens (Linformer) the residual is h (U V)^T.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>
prepare(const at::Tensor& source, const at::Tensor& style_in, const at::Tensor& style_value,
        const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& w,
        const at::Tensor& u, int64_t heads, bool projected) {
  TORCH_CHECK(source.dim() == 3 && heads > 0 && source.size(2) % heads == 0,
              "the tokens must be [batch, keys, heads * width]");
  const double width = double(source.size(2) / heads);
  const auto scale_q = demodulation(q, style_in, EPSILON).mul_(demodulation(k, style_in, EPSILON));
  const auto scale_v = demodulation(v, style_in, EPSILON).mul_(style_value);
  const auto scale_w = demodulation(w, style_value, EPSILON);
  const auto scale_u = demodulation(u, style_value, EPSILON);
  const auto keys = at::linear(source, k);
  const auto values = at::linear(source, v).mul_(scale_v.unsqueeze(1));
  const auto [packed_keys, longest] = pack_keys(keys, heads);
  at::Tensor skip;
  if (projected) {
    const auto both = at::matmul(u * scale_u.unsqueeze(2), v * scale_v.unsqueeze(2));
    skip = pack(both.transpose(1, 2), std::nullopt, 1);
  } else {
    skip = scaled(u, scale_u, 1);
  }
  // `mix` takes powers of 2.
  return {scaled(q, scale_q, 1.4426950408889634 / std::sqrt(width)),
          packed_keys,
          longest,
          pack(values, std::nullopt, 1),
          scaled(w, scale_w, 1),
          skip,
          values};
}

TORCH_LIBRARY_FRAGMENT(styleformer, m) {
  m.def(
      "prepare(Tensor source, Tensor style_in, Tensor style_value, Tensor q, Tensor k, Tensor v, "
      "Tensor w, Tensor u, int heads, bool projected) -> (Tensor, Tensor, Tensor, Tensor, Tensor, "
      "Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(styleformer, CPU, m) { m.impl("prepare", &prepare); }
