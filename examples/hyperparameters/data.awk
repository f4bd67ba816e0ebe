# `n` points of a cubic on [-1, 1] with noise. A number generator of its own, so that the same seed gives
# the same points with every awk.
function random() {
  state = state * 16807 % 2147483647
  return state / 2147483647
}
BEGIN {
  state = substr(seed, length(seed) - 8) % 2147483646 + 1
  for (i = 0; i < 10; i++) random()
  for (i = 0; i < n; i++) {
    x = 2 * random() - 1
    noise = random() + random() + random() - 1.5
    printf "%.6f %.6f\n", x, 1 - 2 * x + 3 * x * x * x + 0.3 * noise > file
  }
}
