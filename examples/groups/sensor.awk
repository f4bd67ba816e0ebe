# A thermometer at the end of a bad line. The number generator is its own, so that the same seed
# gives the same readings on every machine.
function random() {
  state = state * 16807 % 2147483647
  return state / 2147483647
}
BEGIN {
  seed = ENVIRON["seed"]
  state = substr(seed, length(seed) - 8) % 2147483646 + 1
  station = ENVIRON["station"]; hour = ENVIRON["hour"]
  if (station == "west" && hour > 8) {
    print "the sensor is broken" > "/dev/stderr"
    exit 1
  }
  warmth = 12 - 6 * cos((hour - 2) * 3.14159265 / 12) + 2 * random()
  for (i = 0; i < 3 * ENVIRON["DAGRUN_ATTEMPT"]; i++) random()
  if (random() < 0.4) {
    print "noise on the line" > "/dev/stderr"
    exit 75
  }
  printf "%.1f\n", warmth
}
