# Turns the manifest of the means into a table (second argument) and prints a drawing of it.
set -eu
{
  echo size,temperature,magnetisation
  sed -n 's/.*"size":\([^,}]*\),"temperature":\([^,}]*\).*"magnetisation": *\([^,}]*\).*/\1,\2,\3/p' "$1"
} > "$2"
awk -F, '
  NR > 1 {
    if ($1 != size) printf "%s%s × %s\n", (size ? "\n" : ""), $1, $1
    size = $1
    bar = ""
    for (i = 0; i < $3 * 40; i++) bar = bar "#"
    printf "%5.2f  %.3f  %s\n", $2, $3, bar
  }' "$2"
