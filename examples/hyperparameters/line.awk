# Score, degree and penalty of each line of the manifest.
{
  degree = $0; sub(/.*"degree":/, "", degree); sub(/,.*/, "", degree)
  penalty = $0; sub(/.*"penalty":/, "", penalty); sub(/}.*/, "", penalty)
  sub(/.*"value":/, ""); sub(/,.*/, "")
  print $0, degree, penalty
}
