# The mean of the readings in a manifest; those that failed have no value.
/"state":"succeeded"/ {
  sub(/.*"value":/, ""); sub(/,.*/, "")
  sum += $0; count++
}
END { printf "{\"readings\": %d, \"mean\": %.2f}\n", count, sum / count }
