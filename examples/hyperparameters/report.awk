# A line for each model, the best one first. The score is the mean error over the folds, the error that of
# the final model on all points.
function field(name,  text) {
  text = $0
  if (!sub(".*\"" name "\": *", "", text)) return "?"
  sub(/[,}].*/, "", text)
  return text
}
NR == 1 { print "degree  penalty     score     error" }
{ printf "%6s  %7s  %s  %s\n", field("degree"), field("penalty"), field("score"), field("error") }
