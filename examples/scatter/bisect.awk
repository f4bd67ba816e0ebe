# Halves each of the steps in `brackets` until the root is known to six digits.
BEGIN {
  text = ENVIRON["brackets"]
  gsub(/[^-0-9.,]/, "", text)
  n = split(text, ends, ",")
  printf "["
  for (i = 1; i < n; i += 2) {
    a = ends[i]; b = ends[i + 1]
    while (b - a > 1e-6) {
      middle = (a + b) / 2
      if (f(a) * f(middle) <= 0) b = middle; else a = middle
    }
    printf "%s%.7f", (i > 1 ? ", " : ""), a
  }
  print "]"
}
