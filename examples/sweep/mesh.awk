# Writes a lattice of size × size spins, each +1 or -1 at random.
# Environment: size, seed.

# A generator of its own, so that every awk gives the same numbers: Park and Miller's.
function random() {
  state = (state * 16807) % 2147483647
  return state / 2147483647
}

BEGIN {
  size = ENVIRON["size"]
  # A seed has up to 20 digits, more than a number of awk's holds.
  state = substr(ENVIRON["seed"], length(ENVIRON["seed"]) - 8) % 2147483646 + 1
  for (i = 0; i < 10; i++) random()
  for (y = 0; y < size; y++) {
    line = ""
    for (x = 0; x < size; x++) line = line (x ? " " : "") (random() < 0.5 ? 1 : -1)
    print line
  }
}
