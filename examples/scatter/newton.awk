# Polishes the numbers in `roots` by Newton's method, to ten digits.
BEGIN {
  text = ENVIRON["roots"]
  gsub(/[^-0-9.,]/, "", text)
  n = split(text, roots, ",")
  printf "["
  for (i = 1; i <= n; i++) {
    x = roots[i]
    for (k = 0; k < 4; k++) x -= f(x) / slope(x)
    if (f(x) > 1e-9 || f(x) < -1e-9) {
      print "no root near " roots[i] > "/dev/stderr"
      exit 1
    }
    printf "%s%.10f", (i > 1 ? ", " : ""), x
  }
  print "]"
}
