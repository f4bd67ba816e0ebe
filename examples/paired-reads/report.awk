# A line for each sample: how many pairs were kept, and its most frequent gene. Arguments: the manifest of
# the trimmers, then the table of counts.

FILENAME == ARGV[1] {
  sample = $0; sub(/.*"sample":"/, "", sample); sub(/".*/, "", sample)
  all = $0; sub(/.*"pairs": */, "", all); sub(/,.*/, "", all)
  left = $0; sub(/.*"kept": */, "", left); sub(/}.*/, "", left)
  kept[sample] = left " of " all
  next
}
{ split($0, field, ",") }
FNR == 1 { for (i in field) heading[i] = field[i]; next }
{
  best = 2
  for (i = 3; i in field; i++) if (field[i] + 0 > field[best] + 0) best = i
  printf "%-6s %8s pairs kept, most of %s: %d\n", field[1], kept[field[1]], heading[best], field[best]
}
