# Fits a polynomial to points by least squares with a penalty on large coefficients, and prints its mean
# square error as JSON. With `folds`, each point whose number leaves the rest `fold` is left out of the fit,
# and the error is that of these points. With `file`, the coefficients are written there.

{ x[NR] = $1; y[NR] = $2 }

function is_out(i) { return folds && i % folds == fold }

function value(x,  k, sum) {
  for (k = degree; k >= 0; k--) sum = sum * x + c[k]
  return sum
}

# Solves a c = b by Gauss's elimination; the penalty keeps `a` regular.
function solve(  i, j, k, f) {
  for (i = 0; i <= degree; i++)
    for (j = i + 1; j <= degree; j++) {
      f = a[j, i] / a[i, i]
      for (k = i; k <= degree; k++) a[j, k] -= f * a[i, k]
      b[j] -= f * b[i]
    }
  for (i = degree; i >= 0; i--) {
    c[i] = b[i]
    for (k = i + 1; k <= degree; k++) c[i] -= a[i, k] * c[k]
    c[i] /= a[i, i]
  }
}

END {
  for (n = 1; n <= NR; n++) {
    if (is_out(n)) continue
    for (j = 0; j <= degree; j++) {
      for (k = 0; k <= degree; k++) a[j, k] += x[n] ^ (j + k)
      b[j] += y[n] * x[n] ^ j
    }
  }
  for (j = 0; j <= degree; j++) a[j, j] += penalty + 1e-9
  solve()
  for (n = 1; n <= NR; n++) {
    if (folds && !is_out(n)) continue
    error += (y[n] - value(x[n])) ^ 2
    count++
  }
  printf "{\"error\": %.6f}\n", error / count
  if (file) for (k = 0; k <= degree; k++) printf "%.6f\n", c[k] > file
}
