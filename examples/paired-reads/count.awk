# How many pairs belong to each gene, as JSON. Arguments: the genes, then the hits.
FILENAME == ARGV[1] { order[++genes] = $1; next }
{ count[$2]++ }
END {
  for (i = 1; i <= genes; i++) printf "%s\"%s\": %d", (i > 1 ? ", " : "{"), order[i], count[order[i]]
  printf ", \"none\": %d}\n", count["none"]
}
