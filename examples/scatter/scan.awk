# Prints the steps in which f changes its sign, as a JSON array of pairs.
BEGIN {
  end = ENVIRON["end"]; step = ENVIRON["step"]
  printf "["
  for (i = 0; i * step < end; i++)
    if (f(i * step) * f((i + 1) * step) < 0)
      printf "%s[%.3f, %.3f]", count++ ? ", " : "", i * step, (i + 1) * step
  print "]"
}
