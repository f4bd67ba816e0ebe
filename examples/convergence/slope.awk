# The slope of log error over log step, by least squares, of the instances in a manifest.
{
  steps = $0; sub(/.*"steps":/, "", steps); sub(/}.*/, "", steps)
  error = $0; sub(/.*"error": */, "", error); sub(/}.*/, "", error)
  x = -log(steps); y = log(error)
  n++; sx += x; sy += y; sxx += x * x; sxy += x * y
}
END { printf "%.3f\n", (n * sxy - sx * sy) / (n * sxx - sx * sx) }
