# Reads a lattice of spins and passes over it with Metropolis's rule.
# Environment: temperature, sweeps, seed; print = "lattice" (the spins at the end) or "series" (the
# magnetisation after each pass).

function random() {
  state = (state * 16807) % 2147483647
  return state / 2147483647
}

function pass(  n, x, y, cost) {
  for (n = size * size; n > 0; n--) {
    x = int(random() * size)
    y = int(random() * size)
    cost = 2 * spin[x, y] * (spin[(x + 1) % size, y] + spin[(x + size - 1) % size, y] \
      + spin[x, (y + 1) % size] + spin[x, (y + size - 1) % size])
    if (cost <= 0 || random() < exp(-cost / temperature)) {
      spin[x, y] = -spin[x, y]
      total += 2 * spin[x, y]
    }
  }
}

{
  size = NF
  for (x = 0; x < size; x++) {
    spin[x, NR - 1] = $(x + 1)
    total += $(x + 1)
  }
}

END {
  if (NR != size || !size) {
    print "the lattice is not a square" > "/dev/stderr"
    exit 1
  }
  temperature = ENVIRON["temperature"]
  state = substr(ENVIRON["seed"], length(ENVIRON["seed"]) - 8) % 2147483646 + 1
  for (i = 0; i < 10; i++) random()
  for (i = 0; i < ENVIRON["sweeps"]; i++) {
    pass()
    if (ENVIRON["print"] == "series") print total / (size * size)
  }
  if (ENVIRON["print"] == "lattice")
    for (y = 0; y < size; y++) {
      line = ""
      for (x = 0; x < size; x++) line = line (x ? " " : "") spin[x, y]
      print line
    }
}
