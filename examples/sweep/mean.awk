# Prints the mean of the absolute magnetisation and its variance as JSON.

{
  m = $1 < 0 ? -$1 : $1
  sum += m
  squares += m * m
}

END {
  if (!NR) exit 1
  mean = sum / NR
  printf "{\"magnetisation\": %.4f, \"variance\": %.6f}\n", mean, squares / NR - mean * mean
}
