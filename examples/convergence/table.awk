# A line for each method, printed and in a table.
BEGIN { print "method,order,measured" > file }
{
  method = $0; sub(/.*"method":"/, "", method); sub(/".*/, "", method)
  order = $0; sub(/.*"order":/, "", order); sub(/[,}].*/, "", order)
  measured = $0; sub(/.*"value":/, "", measured); sub(/[,}].*/, "", measured)
  printf "%-12s order %d: %s\n", method, order, measured
  print method "," order "," measured > file
}
