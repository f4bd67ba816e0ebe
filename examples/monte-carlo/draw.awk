# The mean payment of `n` paths of twelve months. The number generator is its own, so that the same seed
# gives the same numbers with every awk; a seed has more digits than a number of awk's holds.
function random() {
  state = state * 16807 % 2147483647
  return state / 2147483647
}
# A normal number, by Box and Muller.
function normal() { return sqrt(-2 * log(random())) * cos(6.283185307 * random()) }

BEGIN {
  state = substr(seed, length(seed) - 8) % 2147483646 + 1
  for (i = 0; i < 10; i++) random()
  # One machine in a hundred has no licence at the moment; while there is a file `outage`, it never has.
  if (random() < 0.01 && (attempt == 1 || (getline line < "outage") >= 0)) {
    print "no licence" > "/dev/stderr"
    exit 75
  }
  for (i = 0; i < n; i++) {
    price = 100; sum = 0
    for (month = 0; month < 12; month++) {
      price *= exp(0.05 / 12 - 0.02 / 12 + 0.2 * sqrt(1 / 12) * normal())
      sum += price
    }
    if (sum / 12 > strike) paid += (sum / 12 - strike) * exp(-0.05)
  }
  printf "%.6f\n", paid / n
}
