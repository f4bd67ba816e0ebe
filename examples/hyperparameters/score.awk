# The mean error of the folds in a manifest.
{ sub(/.*"error": */, ""); sub(/[,}].*/, ""); sum += $0 }
END { printf "%.6f\n", sum / NR }
