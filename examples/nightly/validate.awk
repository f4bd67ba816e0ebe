# Checks a file of sales (day;article;price); prints the number of rows and their total as JSON.
BEGIN { FS = ";" }
function refuse(why) {
  print FILENAME ":" FNR ": " why > "/dev/stderr"
  failed = 1
  exit 1
}
FNR == 1 { if ($0 != "day;article;price") refuse("the columns are not day;article;price"); next }
NF != 3 { refuse(NF " fields, not 3") }
$1 != day { refuse("of another day: " $1) }
$3 !~ /^[0-9]+\.[0-9][0-9]$/ { refuse("no price: " $3) }
{ total += $3 }
END {
  if (failed) exit 1
  if (NR < 2) { print FILENAME ": no sales" > "/dev/stderr"; exit 1 }
  printf "{\"rows\": %d, \"total\": %.2f}\n", NR - 1, total
}
