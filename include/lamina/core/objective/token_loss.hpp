#pragma once

namespace lamina {

/// What a labelled token adds to the loss, by the probabilities p of the vocabulary's V tokens:
///
///     plain            -log p[target]
///     smoothing e      (1 - e) * plain + e * mean over v of -log p[v]
///     by_probability   p[target] * plain; no gradient is taken of the factor
///
/// source  Szegedy et al. 2016, arXiv:1512.00567, section 7; Wu et al. 2025, arXiv:2508.05629, eq. 9 (DFT)
struct TokenLoss {
  float smoothing = 0;
  bool by_probability = false;
  bool measures_accuracy = false;  ///< counts labels that are the likeliest token, too
};

}  // namespace lamina
