# Fails when the measured slope is not the order of the method.
BEGIN {
  difference = slope - order
  if (difference < -tolerance || difference > tolerance) {
    print "the errors fall with order " slope ", not " order > "/dev/stderr"
    exit 1
  }
}
