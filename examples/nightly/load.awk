# Writes the totals of the shops in a manifest to `file`, and prints the sum of all as JSON.
BEGIN { print "shop,rows,total" > file }
{
  shop = $0; sub(/.*"shop":"/, "", shop); sub(/".*/, "", shop)
  rows = $0; sub(/.*"rows": */, "", rows); sub(/,.*/, "", rows)
  total = $0; sub(/.*"total": */, "", total); sub(/}.*/, "", total)
  print shop "," rows "," total > file
  sum += total
}
END { printf "{\"shops\": %d, \"total\": %.2f}\n", NR, sum }
