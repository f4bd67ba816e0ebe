# The roots of all chunks, from their manifest.
{
  sub(/.*"value":/, ""); sub(/"out":.*/, "")
  gsub(/[^-0-9.,]/, "")
  n = split($0, roots, ",")
  for (i = 1; i <= n; i++)
    if (roots[i] != "") printf "%2d  %.10f\n", ++count, roots[i]
}
END { if (!count) print "no roots" }
