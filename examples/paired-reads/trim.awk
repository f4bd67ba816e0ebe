# Cuts bases of low quality (#) off the ends of both reads of a pair, and keeps the pairs of which both are
# still at least `min` bases long. Writes the files `first` and `second`, prints what was kept as JSON.

function next_read(file, read,  i) {
  for (i = 1; i <= 4; i++)
    if ((getline read[i] < file) <= 0) return 0
  sub(/#+$/, "", read[4])
  read[2] = substr(read[2], 1, length(read[4]))
  return 1
}

function write(file, read,  i) {
  for (i = 1; i <= 4; i++) print read[i] > file
}

BEGIN {
  printf "" > first; printf "" > second
  while (next_read(ARGV[1], a)) {
    if (!next_read(ARGV[2], b) || a[1] != b[1]) {
      print ARGV[2] ": no mate of " a[1] > "/dev/stderr"
      exit 1
    }
    pairs++
    if (length(a[2]) < min || length(b[2]) < min) continue
    kept++
    write(first, a); write(second, b)
  }
  printf "{\"pairs\": %d, \"kept\": %d}\n", pairs, kept
}
