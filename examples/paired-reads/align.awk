# Finds the gene that holds the first read of a pair and the reverse complement of the second one.
# Arguments: the genes, then both files; writes a line with read and gene to `hits`.

function reverse_complement(text,  i, reversed) {
  for (i = length(text); i > 0; i--)
    reversed = reversed substr("TGCA", index("ACGT", substr(text, i, 1)), 1)
  return reversed
}

FILENAME == ARGV[1] { gene[$1] = $2; next }
FNR % 4 == 1 { name = $1 }
FNR % 4 == 2 && FILENAME == ARGV[2] { mate[name] = $1 }
FNR % 4 == 2 && FILENAME == ARGV[3] {
  found = "none"
  for (one in gene)
    if (index(gene[one], mate[name]) && index(gene[one], reverse_complement($1))) found = one
  print name, found > hits
}
