# Mean and standard error of the values in a manifest; what failed has none.
/"state":"succeeded"/ {
  sub(/.*"value":/, ""); sub(/[,}].*/, "")
  n++; sum += $0; squares += $0 * $0
}
END {
  mean = sum / n
  printf "{\"draws\": %d, \"price\": %.4f, \"error\": %.4f}\n", n, mean, sqrt((squares / n - mean * mean) / n)
}
