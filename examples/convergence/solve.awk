# The error of y(1) for y' = -y, y(0) = 1, solved in `n` steps.
function slope(y) { return -y }
BEGIN {
  h = 1 / n; y = 1
  for (i = 0; i < n; i++) {
    a = slope(y)
    if (method == "euler") y += h * a
    else if (method == "heun") y += h * (a + slope(y + h * a)) / 2
    else {
      b = slope(y + h * a / 2); c = slope(y + h * b / 2); d = slope(y + h * c)
      y += h * (a + 2 * b + 2 * c + d) / 6
    }
  }
  error = y - exp(-1)
  printf "{\"error\": %.6e}\n", (error < 0 ? -error : error)
}
